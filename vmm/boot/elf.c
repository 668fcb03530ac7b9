/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels (System V ABI, generic part): program headers, and the note that holds the PVH entry
 * (Xen public/elfnote.h). */
#include <elf.h>
#include <string.h>
#include "vmm/boot/boot_private.h"

#define MAX_PROGRAM_HEADERS 128
#define MAX_NOTES           (1 * MIB)
#define NOTE_NAME           "Xen"
#define NOTE_PHYS32_ENTRY   18 /* XEN_ELFNOTE_PHYS32_ENTRY */

/* The fields of either class that count here. */
typedef struct ElfHeader {
    uint64_t entry, phoff;
    unsigned phnum, phentsize;
} ElfHeader;

typedef struct ElfProgramHeader {
    uint32_t type;
    uint64_t offset, paddr, filesz, memsz, align;
} ElfProgramHeader;

bool elf_probe(BootSource *source)
{
    uint8_t ident[SELFMAG];
    return boot_source_read(source, 0, ident, sizeof(ident), NULL) &&
           memcmp(ident, ELFMAG, SELFMAG) == 0;
}

static bool elf_refuse(const BootSource *source, GError **error, const char *reason)
{
    return error_set(error, "could not load kernel '%s' (ELF): %s", source->name, reason);
}

static bool elf_read_header(BootSource *source, ElfImage *elf, ElfHeader *header, GError **error)
{
    uint8_t raw[sizeof(Elf64_Ehdr)] = { 0 };
    if (!boot_source_read(source, 0, raw, MIN(source->size, (uint64_t)sizeof(raw)), error)) {
        return false;
    }
    if (raw[EI_DATA] != ELFDATA2LSB) {
        return elf_refuse(source, error, "it is big-endian");
    }
    if (raw[EI_CLASS] != ELFCLASS32 && raw[EI_CLASS] != ELFCLASS64) {
        return elf_refuse(source, error, "it is neither 32-bit nor 64-bit");
    }
    elf->is64 = raw[EI_CLASS] == ELFCLASS64;
    unsigned machine;
    if (elf->is64) {
        Elf64_Ehdr ehdr;
        memcpy(&ehdr, raw, sizeof(ehdr));
        machine = le16toh(ehdr.e_machine);
        *header = (ElfHeader){ le64toh(ehdr.e_entry), le64toh(ehdr.e_phoff), le16toh(ehdr.e_phnum),
                               le16toh(ehdr.e_phentsize) };
    } else {
        Elf32_Ehdr ehdr;
        memcpy(&ehdr, raw, sizeof(ehdr));
        machine = le16toh(ehdr.e_machine);
        *header = (ElfHeader){ le32toh(ehdr.e_entry), le32toh(ehdr.e_phoff), le16toh(ehdr.e_phnum),
                               le16toh(ehdr.e_phentsize) };
    }
    if (machine != EM_386 && machine != EM_X86_64) {
        return elf_refuse(source, error, "it is not for x86");
    }
    size_t least = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (header->phnum == 0 || header->phnum > MAX_PROGRAM_HEADERS || header->phentsize != least) {
        return elf_refuse(source, error, "its program headers are missing or malformed");
    }
    return true;
}

static bool elf_read_program_header(BootSource *source, const ElfImage *elf,
                                    const ElfHeader *header, unsigned index, ElfProgramHeader *out,
                                    GError **error)
{
    uint8_t raw[sizeof(Elf64_Phdr)];
    if (header->phoff > source->size ||
        !boot_source_read(source, header->phoff + (uint64_t)index * header->phentsize, raw,
                          header->phentsize, NULL)) {
        return elf_refuse(source, error, "it is cut short in its program headers");
    }
    if (elf->is64) {
        Elf64_Phdr phdr;
        memcpy(&phdr, raw, sizeof(phdr));
        *out = (ElfProgramHeader){ le32toh(phdr.p_type),  le64toh(phdr.p_offset),
                                   le64toh(phdr.p_paddr), le64toh(phdr.p_filesz),
                                   le64toh(phdr.p_memsz), le64toh(phdr.p_align) };
    } else {
        Elf32_Phdr phdr;
        memcpy(&phdr, raw, sizeof(phdr));
        *out = (ElfProgramHeader){ le32toh(phdr.p_type),  le32toh(phdr.p_offset),
                                   le32toh(phdr.p_paddr), le32toh(phdr.p_filesz),
                                   le32toh(phdr.p_memsz), le32toh(phdr.p_align) };
    }
    return true;
}

/* Name and descriptor of a note are padded to `align`, 4 or 8. */
static void elf_find_pvh(ElfImage *elf, const uint8_t *notes, uint64_t len, uint64_t align)
{
    uint64_t at = 0;
    while (len - at >= 12) {
        uint64_t name_size = load_le32(notes + at);
        uint64_t desc_size = load_le32(notes + at + 4);
        uint32_t type = load_le32(notes + at + 8);
        uint64_t name = at + 12;
        uint64_t desc = name + ALIGN_UP(name_size, align);
        uint64_t next = desc + ALIGN_UP(desc_size, align);
        if (!range_inside(name, name_size, len) || !range_inside(desc, desc_size, len)) {
            return;
        }
        if (type == NOTE_PHYS32_ENTRY && name_size == sizeof(NOTE_NAME) &&
            memcmp(notes + name, NOTE_NAME, sizeof(NOTE_NAME)) == 0 &&
            (desc_size == 4 || desc_size == 8)) {
            elf->has_pvh = true;
            elf->pvh_entry = load_le(notes + desc, (unsigned)desc_size);
            return;
        }
        if (next > len) {
            return;
        }
        at = next;
    }
}

static bool elf_read_notes(BootSource *source, ElfImage *elf, const ElfProgramHeader *header,
                           GError **error)
{
    if (header->filesz > MAX_NOTES) {
        return elf_refuse(source, error, "its notes are larger than 1 MiB");
    }
    g_autofree uint8_t *notes = g_malloc(header->filesz + 1);
    if (!boot_source_read(source, header->offset, notes, header->filesz, error)) {
        return false;
    }
    elf_find_pvh(elf, notes, header->filesz, header->align == 8 ? 8 : 4);
    return true;
}

static bool elf_add_segment(BootSource *source, ElfImage *elf, const ElfProgramHeader *header,
                            GError **error)
{
    if (header->memsz == 0) {
        return true;
    }
    if (header->filesz > header->memsz) {
        return elf_refuse(source, error, "a segment is larger in the file than in memory");
    }
    if (!range_inside(header->offset, header->filesz, source->size)) {
        return elf_refuse(source, error, "it is cut short: a segment ends behind the file's end");
    }
    if (header->paddr > UINT64_MAX - header->memsz) {
        return elf_refuse(source, error, "a segment reaches over the end of the address space");
    }
    elf->segments[elf->count++] =
        (ElfSegment){ header->offset, header->filesz, header->paddr, header->memsz };
    return true;
}

bool elf_parse(BootSource *source, ElfImage *elf, GError **error)
{
    ElfHeader header = { 0 };
    if (!elf_read_header(source, elf, &header, error)) {
        return false;
    }
    elf->entry = header.entry;
    elf->segments = g_new0(ElfSegment, header.phnum);
    for (unsigned i = 0; i < header.phnum; i++) {
        ElfProgramHeader program = { 0 };
        if (!elf_read_program_header(source, elf, &header, i, &program, error)) {
            return false;
        }
        if (program.type == PT_LOAD && !elf_add_segment(source, elf, &program, error)) {
            return false;
        }
        if (program.type == PT_NOTE && !elf->has_pvh &&
            !elf_read_notes(source, elf, &program, error)) {
            return false;
        }
    }
    if (elf->count == 0) {
        return elf_refuse(source, error, "it has nothing to load");
    }
    return true;
}

void elf_clear(ElfImage *elf)
{
    g_clear_pointer(&elf->segments, g_free);
    elf->count = 0;
}

bool elf_place(const ElfImage *elf, BootSource *source, BootRoom *room, uint64_t *last,
               GError **error)
{
    *last = 0;
    for (unsigned i = 0; i < elf->count; i++) {
        const ElfSegment *segment = &elf->segments[i];
        if (!boot_room_take(room, segment->addr, segment->size)) {
            return error_set(error,
                             "could not load kernel '%s' (ELF): its segment of %" PRIu64
                             " bytes at 0x%" PRIx64 " does not lie in free RAM of this "
                             "machine, or overlaps another one",
                             source->name, segment->size, segment->addr);
        }
        if (!boot_room_load(room, segment->addr, source, segment->offset, segment->file_size,
                            segment->size, error)) {
            return false;
        }
        *last = MAX(*last, segment->addr + segment->size - 1);
    }
    return true;
}
