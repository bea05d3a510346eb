/* The child program's ELF image, placed in read-only data: onggi_child_elf .. onggi_child_elf_end. */
    .section .rodata
    .global onggi_child_elf
    .global onggi_child_elf_end
    .balign 16
onggi_child_elf:
    .incbin CHILD_ELF
onggi_child_elf_end:
    .section .note.GNU-stack,"",@progbits
