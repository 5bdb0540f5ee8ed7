mod device_tree;
mod mailbox;
mod ram;
mod tree_builder;
