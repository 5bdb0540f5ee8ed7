"""The past: what QEMU's plugin `qemu/recorder` has recorded, and the questions about it."""
