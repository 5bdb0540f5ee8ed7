// Of both kernels. Whatever is taken, ends here: a debugger may look at it.

.section .text.vectors, "ax"
.balign 0x800
vectors:
.rept 16
    b       fault_taken
    .balign 0x80
.endr

.global fault_taken
fault_taken:
    wfe
    b       fault_taken
