//! Small real ELF files: shared libraries that can be loaded and hold nothing, and a program that says what it is.

use object::Endianness;
use object::elf;
use object::write::Result;
use object::write::elf::{FileHeader, ProgramHeader, Writer};

/// Word size and machine of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// x86-64.
    Elf64,
    /// i386.
    Elf32,
}

/// Page size that the segments are aligned to.
const PAGE: u64 = 4096;

/// A shared library with this SONAME that can be loaded and defines nothing.
pub(crate) fn library(class: Class, soname: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, class == Class::Elf64, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(3);
    let soname = writer.add_dynamic_string(soname.as_bytes());
    writer.reserve_null_dynamic_symbol_index();
    let dynsym = writer.reserve_dynsym();
    let dynstr = writer.reserve_dynstr()?;
    let hash = writer.reserve_hash(1, 1);
    let dynamic = writer.reserve_dynamic(DYNAMIC_ENTRIES);
    let loaded = writer.reserved_len();
    writer.reserve_dynsym_section_index();
    writer.reserve_dynstr_section_index();
    writer.reserve_hash_section_index();
    writer.reserve_dynamic_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    let e_machine = if class == Class::Elf64 {
        elf::EM_X86_64
    } else {
        elf::EM_386
    };
    writer.write_file_header(&file_header(elf::ET_DYN, e_machine, 0))?;
    writer.write_align_program_headers();
    // glibc relocates the dynamic section in place, so the segment has to be writable.
    writer.write_program_header(&segment(elf::PT_LOAD, elf::PF_R | elf::PF_W, 0, loaded, 0));
    writer.write_program_header(&segment(
        elf::PT_DYNAMIC,
        elf::PF_R | elf::PF_W,
        dynamic,
        loaded - dynamic,
        0,
    ));
    writer.write_program_header(&segment(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W, 0, 0, 0));
    writer.write_null_dynamic_symbol();
    writer.write_dynstr();
    writer.write_hash(1, 1, |_| None);
    writer.write_align_dynamic();
    writer.write_dynamic_string(elf::DT_SONAME, soname)?;
    let symbol_size = if class == Class::Elf64 { 24 } else { 16 };
    let string_size = u64::from(writer.dynstr_len());
    writer.write_dynamic(elf::DT_HASH, hash)?;
    writer.write_dynamic(elf::DT_STRTAB, dynstr)?;
    writer.write_dynamic(elf::DT_SYMTAB, dynsym)?;
    writer.write_dynamic(elf::DT_STRSZ, string_size)?;
    writer.write_dynamic(elf::DT_SYMENT, symbol_size)?;
    writer.write_dynamic(elf::DT_NULL, 0)?;
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_dynsym_section_header(dynsym, 1);
    writer.write_dynstr_section_header(dynstr);
    writer.write_hash_section_header(hash);
    writer.write_dynamic_section_header(dynamic);
    writer.write_shstrtab_section_header();
    Ok(bytes)
}

/// SONAME, HASH, STRTAB, SYMTAB, STRSZ, SYMENT, NULL.
const DYNAMIC_ENTRIES: usize = 7;

/// Where the program's segment is mapped.
const PROGRAM_BASE: u64 = 0x40_0000;

/// A static x86-64 program that writes `message` to standard error and exits with 1.
pub(crate) fn program(message: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(2);
    let code_offset = writer.reserve(CODE_SIZE, 16);
    let text_offset = writer.reserve(message.len() as u64, 1);
    let total = writer.reserved_len();
    writer.write_file_header(&file_header(elf::ET_EXEC, elf::EM_X86_64, PROGRAM_BASE + code_offset))?;
    writer.write_align_program_headers();
    writer.write_program_header(&segment(elf::PT_LOAD, elf::PF_R | elf::PF_X, 0, total, PROGRAM_BASE));
    writer.write_program_header(&segment(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W, 0, 0, 0));
    writer.write_align(16);
    writer.write(&code(PROGRAM_BASE + text_offset, message.len()));
    writer.write(message.as_bytes());
    Ok(bytes)
}

/// Bytes of [`code`].
const CODE_SIZE: u64 = 34;

/// Machine code of `write(2, text, length); exit(1)`.
fn code(text: u64, length: usize) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1 (write)
    code.extend([0xbf, 2, 0, 0, 0]); // mov edi, 2 (standard error)
    code.push(0xbe); // mov esi, text (the program lies below 4 GiB)
    code.extend((text as u32).to_le_bytes());
    code.push(0xba); // mov edx, length
    code.extend((length as u32).to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60 (exit)
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    code.extend([0x0f, 0x05]); // syscall
    code
}

fn file_header(e_type: elf::FileType, e_machine: elf::Machine, e_entry: u64) -> FileHeader {
    FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type,
        e_machine,
        e_entry,
        e_flags: elf::FileFlags(0),
    }
}

fn segment(p_type: elf::ProgramType, p_flags: elf::ProgramFlags, offset: u64, size: u64, base: u64) -> ProgramHeader {
    let p_align = if p_type == elf::PT_LOAD { PAGE } else { 8 };
    let address = base + offset;
    ProgramHeader {
        p_type,
        p_flags,
        p_offset: offset,
        p_vaddr: address,
        p_paddr: address,
        p_filesz: size,
        p_memsz: size,
        p_align,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_has_the_size_that_is_reserved() {
        assert_eq!(code(0, 0).len() as u64, CODE_SIZE);
    }

    #[test]
    fn a_library_leaves_room_for_the_state_slots() {
        assert!(library(Class::Elf64, "libnvidia-sim.so.535.309.01").unwrap().len() < 4096);
    }
}
