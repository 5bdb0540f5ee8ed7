// Core 0 stays at EL3, where an ELF file given to QEMU begins, with the MMU off; the others sleep.

.section .text.boot, "ax"
.global _start
_start:
    mrs     x0, mpidr_el1
    and     x0, x0, #3
    cbnz    x0, sleep
    adr     x0, vectors
    msr     vbar_el3, x0
    ldr     x0, =__stack_top
    mov     sp, x0
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
1:  cmp     x0, x1
    b.hs    2f
    stp     xzr, xzr, [x0], #16
    b       1b
2:  bl      kernel_main
sleep:
    wfe
    b       sleep
