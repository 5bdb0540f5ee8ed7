// From the entry point to `kernel_main`, on every core: goes down to EL1, turns MMU and caches on, and jumps to the
// upper half. Nothing is written to memory, and no Rust runs, before the caches are on.

.equ IMAGE_OFFSET, {image_offset}

// Loads the 64-bit address of a symbol in the upper half.
.macro load_address register, symbol
    ldr     \register, =\symbol
.endm

.section .text.boot, "ax"
.global _start
_start:
    mrs     x19, CurrentEL
    cmp     x19, #(3 << 2)
    b.eq    from_el3
    cmp     x19, #(2 << 2)
    b.eq    from_el2
    b       at_el1

from_el3:
    mov     x0, #0x5b1              // SCR_EL3: RW, HCE, SMD, RES1, NS: the lower levels are non-secure AArch64
    msr     scr_el3, x0
    msr     cptr_el3, xzr
    mov     x0, #0x3c9              // SPSR: EL2h, all exceptions masked
    msr     spsr_el3, x0
    adr     x0, from_el2
    msr     elr_el3, x0
    ldr     x0, =0x30c50830         // SCTLR_EL2: RES1 bits, MMU and caches off
    msr     sctlr_el2, x0
    isb
    eret

from_el2:
    mov     x0, #(1 << 31)          // HCR_EL2.RW: EL1 is AArch64
    msr     hcr_el2, x0
    mov     x0, #3                  // CNTHCTL_EL2: EL1 may use the physical counter and timer
    msr     cnthctl_el2, x0
    msr     cntvoff_el2, xzr
    mov     x0, #0x33ff             // CPTR_EL2: RES1 bits, no traps
    msr     cptr_el2, x0
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    ldr     x0, =0x30d00800         // SCTLR_EL1: RES1 bits, MMU and caches off
    msr     sctlr_el1, x0
    mov     x0, #0x3c5              // SPSR: EL1h, all exceptions masked
    msr     spsr_el2, x0
    adr     x0, at_el1
    msr     elr_el2, x0
    isb
    eret

at_el1:
    ldr     x0, =0x4404ff           // MAIR_EL1: 0 normal write-back, 1 device nGnRE, 2 normal non-cacheable
    msr     mair_el1, x0
    // TCR_EL1: 48 bits and 4 KiB granule in both halves, inner shareable, write-back
    ldr     x0, =0xb5103510
    mrs     x1, id_aa64mmfr0_el1
    and     x2, x1, #0xf            // PARange
    mov     x3, #5                  // at most 48 bits
    cmp     x2, x3
    csel    x2, x2, x3, lo
    orr     x0, x0, x2, lsl #32     // IPS
    ubfx    x2, x1, #4, #4          // ASIDBits
    cmp     x2, #2
    cset    x2, eq
    orr     x0, x0, x2, lsl #36     // AS: 16-bit ASIDs if the CPU has them
    msr     tcr_el1, x0
    adrp    x0, boot_table_low
    msr     ttbr0_el1, x0
    adrp    x0, boot_table_high
    msr     ttbr1_el1, x0
    dsb     sy
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    ldr     x0, =0x30d0180d         // SCTLR_EL1: RES1 bits, M, C, SA, I
    mrs     x1, mpidr_el1
    load_address x2, in_upper_half
    msr     sctlr_el1, x0
    isb
    br      x2

in_upper_half:
    load_address x0, exception_vectors
    msr     vbar_el1, x0
    msr     cpacr_el1, xzr          // floating point traps, at EL1 and EL0
    mov     x0, #2                  // CNTKCTL_EL1: EL0 may read the virtual counter
    msr     cntkctl_el1, x0
    msr     mdscr_el1, xzr
    msr     tpidr_el1, xzr
    msr     contextidr_el1, xzr
    isb
    and     x1, x1, #3
    cbnz    x1, secondary

    load_address x0, __shell_stack_top
    mov     sp, x0
    load_address x0, __bss_start
    load_address x1, __image_end    // the stacks as well, so that a debugger sees how much of them was used
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    mov     x29, xzr
    mov     x30, xzr
    lsr     x0, x19, #2             // the exception level at entry
    bl      kernel_main
2:  wfi
    b       2b

// Cores 1 to 3: wait for the kernel's final tables, switch to them, and park.
secondary:
    load_address x0, __secondary_stack_top_1
    sub     x1, x1, #1
    add     x0, x0, x1, lsl #13     // a stack with its guard has two pages
    mov     sp, x0
    load_address x20, KERNEL_TABLE
1:  ldar    x0, [x20]
    cbnz    x0, 2f
    wfe
    b       1b
2:  bl      install_kernel_table
    load_address x0, boot_table_empty_physical
    ldr     x0, [x0]
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    mov     x29, xzr
    mov     x30, xzr
.global secondary_parked
secondary_parked:
    wfi
    b       secondary_parked

// Installs a table for TTBR1; x0: its physical address. The code runs in the identity map of TTBR0, so that no
// translation of the upper half is in use while it changes.
.global install_kernel_table
install_kernel_table:
    ldr     x1, =IMAGE_OFFSET
    adr     x2, 1f
    sub     x2, x2, x1
    load_address x3, boot_table_empty_physical
    ldr     x3, [x3]
    br      x2
1:  msr     ttbr1_el1, x3
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    isb
    ret

// The tables until the kernel has built its own: RAM from 0 to 1 GiB by identity map, linear map and image map, and the
// devices. The linker fills them in.
.equ TABLE, 3
.equ NORMAL_BLOCK, 0x701            // access flag, inner shareable, MAIR entry 0, block
.equ DEVICE_BLOCK, 0x60000000000405 // access flag, MAIR entry 1, execute-never at both levels, block

.section .data.tables, "aw"
.balign 4096
boot_table_low:
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE
    .fill   511, 8, 0
boot_table_high:
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE       // 0xffff_0000_0000_0000: linear map
    .fill   255, 8, 0
    .quad   boot_table_ram - IMAGE_OFFSET + TABLE       // 0xffff_8000_0000_0000: image
    .fill   127, 8, 0
    .quad   boot_table_devices - IMAGE_OFFSET + TABLE   // 0xffff_c000_0000_0000: devices
    .fill   127, 8, 0
boot_table_ram:
    .quad   NORMAL_BLOCK
    .fill   511, 8, 0
boot_table_devices:
    .fill   3, 8, 0
    .quad   0xc0000000 + DEVICE_BLOCK
    .fill   508, 8, 0
boot_table_empty:
    .fill   512, 8, 0
.global boot_table_empty_physical
boot_table_empty_physical:
    .quad   boot_table_empty - IMAGE_OFFSET
