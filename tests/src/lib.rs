//! Nothing of its own: this crate carries the tests of the whole workspace, in tests/ beside this folder.
