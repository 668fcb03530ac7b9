/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The named CPU models' table. Names, versions and contents are those that QEMU 7.2 publishes
 * (query-cpu-model-expansion), so that a guest sees the same processor; SapphireRapids and
 * EPYC-Genoa came later. tests/unit/test-cpu-models.c compares with a list of QEMU's.
 */
#include "vmm/kvm/x86/cpu_models.h"

#include <string.h>

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"
#define HYGON "HygonGenuine"

/* clang-format off */
#define L1D(KIB, WAYS) \
    { .level = 1, .type = CACHE_DATA, .kib = (KIB), .ways = (WAYS), .lines_per_tag = 1, \
      .no_flush_below = true }
#define L1I(KIB, WAYS) \
    { .level = 1, .type = CACHE_CODE, .kib = (KIB), .ways = (WAYS), .lines_per_tag = 1, \
      .no_flush_below = true }
#define L2(KIB, WAYS) \
    { .level = 2, .type = CACHE_UNIFIED, .kib = (KIB), .ways = (WAYS), .lines_per_tag = 1, \
      .no_flush_below = true }
#define L3(KIB, WAYS) \
    { .level = 3, .type = CACHE_UNIFIED, .kib = (KIB), .ways = (WAYS), .lines_per_tag = 1, \
      .inclusive = true, .complex = true }

const CpuCaches legacy_caches = { L1D(32, 8), L1I(32, 8), L2(4096, 16), L3(16384, 16) };
const CpuCaches legacy_caches_leaf2 = { L1D(32, 8), L1I(32, 8), L2(2048, 8), L3(16384, 16) };
const CpuCaches legacy_caches_amd = { L1D(64, 2), L1I(64, 2), L2(512, 16), L3(16384, 16) };

static const CpuCaches epyc_caches = {
    L1D(32, 8), L1I(64, 4),
    { .level = 2, .type = CACHE_UNIFIED, .kib = 512, .ways = 8, .lines_per_tag = 1,
      .set_up = true },
    L3(8192, 16) };
static const CpuCaches rome_caches = {
    L1D(32, 8), L1I(32, 8),
    { .level = 2, .type = CACHE_UNIFIED, .kib = 512, .ways = 8, .lines_per_tag = 1,
      .set_up = true },
    L3(16384, 16) };
static const CpuCaches milan_caches = {
    L1D(32, 8), L1I(32, 8),
    { .level = 2, .type = CACHE_UNIFIED, .kib = 512, .ways = 8, .lines_per_tag = 1,
      .set_up = true },
    L3(32768, 16) };
static const CpuCaches genoa_caches = {
    L1D(32, 8), L1I(32, 8),
    { .level = 2, .type = CACHE_UNIFIED, .kib = 1024, .ways = 8, .lines_per_tag = 1,
      .set_up = true },
    L3(32768, 16) };

const CpuModelEntry cpu_model_entries[] = {
    { .name = "486",
      .id = "",
      .vendor = INTEL, .family = 4, .model = 8, .stepping = 0,
      .level = 0x1, .xlevel = 0x0,
      .features =
        "fpu vme pse" },
    { .name = "pentium",
      .id = "",
      .vendor = INTEL, .family = 5, .model = 4, .stepping = 3,
      .level = 0x1, .xlevel = 0x0,
      .features =
        "fpu vme de pse tsc msr mce cx8 apic mmx" },
    { .name = "pentium2",
      .id = "",
      .vendor = INTEL, .family = 6, .model = 5, .stepping = 2,
      .level = 0x2, .xlevel = 0x0,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr" },
    { .name = "pentium3",
      .id = "",
      .vendor = INTEL, .family = 6, .model = 7, .stepping = 3,
      .level = 0x3, .xlevel = 0x0,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse" },
    { .name = "athlon",
      .id = "QEMU Virtual CPU version 2.5+",
      .vendor = AMD, .family = 6, .model = 2, .stepping = 3,
      .level = 0x2, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse "
        "sse2 mmxext 3dnowext 3dnow" },
    { .name = "n270",
      .id = "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
      .vendor = INTEL, .family = 6, .model = 28, .stepping = 2,
      .level = 0xa, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush acpi mmx "
        "fxsr sse sse2 ss pni monitor ssse3 movbe nx lahf-lm" },
    { .name = "coreduo",
      .id = "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
      .vendor = INTEL, .family = 6, .model = 14, .stepping = 8,
      .level = 0xa, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush acpi mmx "
        "fxsr sse sse2 ss pni monitor nx" },
    { .name = "core2duo",
      .id = "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
      .vendor = INTEL, .family = 6, .model = 15, .stepping = 11,
      .level = 0xa, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi "
        "mmx fxsr sse sse2 ss pni monitor ssse3 cx16 syscall nx lm lahf-lm" },
    { .name = "qemu32",
      .id = "QEMU Virtual CPU version 2.5+",
      .vendor = INTEL, .family = 6, .model = 6, .stepping = 3,
      .level = 0x4, .xlevel = 0x80000004,
      .features =
        "fpu de pse tsc msr pae mce cx8 apic sep pge cmov pat mmx fxsr sse sse2 pni" },
    { .name = "qemu64",
      .id = "QEMU Virtual CPU version 2.5+",
      .vendor = AMD, .family = 15, .model = 107, .stepping = 1,
      .level = 0xd, .xlevel = 0x8000000a,
      .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr "
        "sse sse2 pni cx16 syscall nx lm lahf-lm svm" },
    { .name = "kvm32",
      .id = "Common 32-bit KVM processor",
      .vendor = INTEL, .family = 15, .model = 6, .stepping = 1,
      .level = 0x5, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni" },
    { .name = "kvm64",
      .id = "Common KVM processor",
      .vendor = INTEL, .family = 15, .model = 6, .stepping = 1,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni cx16 syscall nx lm" },
    { .name = "phenom",
      .id = "AMD Phenom(tm) 9550 Quad-Core Processor",
      .vendor = AMD, .family = 16, .model = 2, .stepping = 3,
      .level = 0x5, .xlevel = 0x8000001a,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor cx16 popcnt syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm "
        "3dnowext 3dnow lahf-lm svm abm sse4a npt" },
    { .name = "Conroe",
      .id = "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
      .vendor = INTEL, .family = 6, .model = 15, .stepping = 3,
      .level = 0xa, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 syscall nx lm lahf-lm" },
    { .name = "Penryn",
      .id = "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
      .vendor = INTEL, .family = 6, .model = 23, .stepping = 3,
      .level = 0xa, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 cx16 sse4.1 syscall nx lm lahf-lm" },
    { .name = "Nehalem",
      .id = "Intel Core i7 9xx (Nehalem Class Core i7)",
      .vendor = INTEL, .family = 6, .model = 26, .stepping = 3,
      .level = 0xb, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 cx16 sse4.1 sse4.2 popcnt syscall nx lm lahf-lm",
      .versions = {
          { .alias = "Nehalem-IBRS", .id = "Intel Core i7 9xx (Nehalem Core i7, IBRS update)",
            .change = "+spec-ctrl" },
      } },
    { .name = "Westmere",
      .id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
      .vendor = INTEL, .family = 6, .model = 44, .stepping = 1,
      .level = 0xb, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 popcnt aes syscall nx lm "
        "lahf-lm arat",
      .versions = {
          { .alias = "Westmere-IBRS", .id = "Westmere E56xx/L56xx/X56xx (IBRS update)",
            .change = "+spec-ctrl" },
      } },
    { .name = "SandyBridge",
      .id = "Intel Xeon E312xx (Sandy Bridge)",
      .vendor = INTEL, .family = 6, .model = 42, .stepping = 1,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 x2apic popcnt tsc-deadline aes "
        "xsave avx syscall nx rdtscp lm lahf-lm xsaveopt arat",
      .versions = {
          { .alias = "SandyBridge-IBRS", .id = "Intel Xeon E312xx (Sandy Bridge, IBRS update)",
            .change = "+spec-ctrl" },
      } },
    { .name = "IvyBridge",
      .id = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
      .vendor = INTEL, .family = 6, .model = 58, .stepping = 9,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 x2apic popcnt tsc-deadline aes "
        "xsave avx f16c rdrand fsgsbase smep erms syscall nx rdtscp lm lahf-lm xsaveopt arat",
      .versions = {
          { .alias = "IvyBridge-IBRS", .id = "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)",
            .change = "+spec-ctrl" },
      } },
    { .name = "Haswell",
      .id = "Intel Core Processor (Haswell)",
      .vendor = INTEL, .family = 6, .model = 60, .stepping = 4,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm syscall nx rdtscp lm lahf-lm abm xsaveopt arat",
      .versions = {
          { .alias = "Haswell-noTSX", .id = "Intel Core Processor (Haswell, no TSX)",
            .stepping = 1, .change = "-hle -rtm" },
          { .alias = "Haswell-IBRS", .id = "Intel Core Processor (Haswell, IBRS)", .stepping = 4,
            .change = "+hle +rtm +spec-ctrl" },
          { .alias = "Haswell-noTSX-IBRS", .id = "Intel Core Processor (Haswell, no TSX, IBRS)",
            .stepping = 1, .change = "-hle -rtm" },
      } },
    { .name = "Broadwell",
      .id = "Intel Core Processor (Broadwell)",
      .vendor = INTEL, .family = 6, .model = 61, .stepping = 2,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm rdseed adx smap syscall nx rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt arat",
      .versions = {
          { .alias = "Broadwell-noTSX", .id = "Intel Core Processor (Broadwell, no TSX)",
            .change = "-hle -rtm" },
          { .alias = "Broadwell-IBRS", .id = "Intel Core Processor (Broadwell, IBRS)",
            .change = "+hle +rtm +spec-ctrl" },
          { .alias = "Broadwell-noTSX-IBRS",
            .id = "Intel Core Processor (Broadwell, no TSX, IBRS)", .change = "-hle -rtm" },
      } },
    { .name = "Skylake-Client",
      .id = "Intel Core Processor (Skylake)",
      .vendor = INTEL, .family = 6, .model = 94, .stepping = 3,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm rdseed adx smap syscall nx rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt xsavec "
        "xgetbv1 arat",
      .versions = {
          { .alias = "Skylake-Client-IBRS", .id = "Intel Core Processor (Skylake, IBRS)",
            .change = "+spec-ctrl" },
          { .alias = "Skylake-Client-noTSX-IBRS",
            .id = "Intel Core Processor (Skylake, IBRS, no TSX)", .change = "-hle -rtm" },
          { .note = "IBRS, XSAVES, no TSX", .change = "+xsaves" },
      } },
    { .name = "Skylake-Server",
      .id = "Intel Xeon Processor (Skylake)",
      .vendor = INTEL, .family = 6, .model = 85, .stepping = 4,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl pku "
        "syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt xsavec xgetbv1 arat",
      .versions = {
          { .alias = "Skylake-Server-IBRS", .id = "Intel Xeon Processor (Skylake, IBRS)",
            .change = "+spec-ctrl -clflushopt" },
          { .alias = "Skylake-Server-noTSX-IBRS",
            .id = "Intel Xeon Processor (Skylake, IBRS, no TSX)", .change = "-hle -rtm" },
          { .note = "IBRS, EPT switching, no TSX", .change = "" },
          { .note = "IBRS, XSAVES, EPT switching, no TSX", .change = "+xsaves" },
      } },
    { .name = "Cascadelake-Server",
      .id = "Intel Xeon Processor (Cascadelake)",
      .vendor = INTEL, .family = 6, .model = 85, .stepping = 6,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl pku "
        "avx512vnni spec-ctrl ssbd syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch "
        "xsaveopt xsavec xgetbv1 arat",
      .versions = {
          { .note = "ARCH_CAPABILITIES",
            .change = "+arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no" },
          { .alias = "Cascadelake-Server-noTSX", .note = "ARCH_CAPABILITIES, no TSX",
            .change = "-hle -rtm" },
          { .note = "ARCH_CAPABILITIES, EPT switching, no TSX", .change = "" },
          { .note = "ARCH_CAPABILITIES, EPT switching, XSAVES, no TSX", .change = "+xsaves" },
      } },
    { .name = "Cooperlake",
      .id = "Intel Xeon Processor (Cooperlake)",
      .vendor = INTEL, .family = 6, .model = 85, .stepping = 10,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl pku "
        "avx512vnni spec-ctrl stibp arch-capabilities ssbd avx512-bf16 syscall nx pdpe1gb "
        "rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt xsavec xgetbv1 arat rdctl-no ibrs-all "
        "skip-l1dfl-vmentry mds-no pschange-mc-no taa-no",
      .versions = {
          { .note = "XSAVES", .change = "+xsaves" },
      } },
    { .name = "Icelake-Server",
      .id = "Intel Xeon Processor (Icelake)",
      .vendor = INTEL, .family = 6, .model = 134, .stepping = 0,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl "
        "avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg "
        "avx512-vpopcntdq la57 spec-ctrl ssbd syscall nx pdpe1gb rdtscp lm lahf-lm abm "
        "3dnowprefetch wbnoinvd xsaveopt xsavec xgetbv1 arat",
      .versions = {
          { .alias = "Icelake-Server-noTSX", .note = "no TSX", .change = "-hle -rtm" },
          { .change = "+arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no "
                      "+pschange-mc-no +taa-no" },
          { .model = 106, .change = "+avx512ifma +sha-ni +rdpid +fsrm" },
          { .note = "XSAVES", .change = "+xsaves" },
          { .note = "5-level EPT", .change = "" },
      } },
    { .name = "SapphireRapids",
      .id = "Intel Xeon Processor (SapphireRapids)",
      .vendor = INTEL, .family = 6, .model = 143, .stepping = 4,
      .level = 0x20, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid "
        "rtm avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha-ni "
        "avx512bw avx512vl avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni "
        "avx512bitalg avx512-vpopcntdq la57 rdpid bus-lock-detect fsrm serialize tsx-ldtrk "
        "amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl arch-capabilities ssbd avx-vnni "
        "avx512-bf16 fzrm fsrs fsrc syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch "
        "wbnoinvd xsaveopt xsavec xgetbv1 xsaves xfd arat rdctl-no ibrs-all "
        "skip-l1dfl-vmentry mds-no pschange-mc-no taa-no" },
    { .name = "Denverton",
      .id = "Intel Atom Processor (Denverton)",
      .vendor = INTEL, .family = 6, .model = 95, .stepping = 1,
      .level = 0x15, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave rdrand fsgsbase smep erms mpx rdseed smap clflushopt sha-ni "
        "spec-ctrl arch-capabilities ssbd syscall nx pdpe1gb rdtscp lm lahf-lm 3dnowprefetch "
        "xsaveopt xsavec xgetbv1 arat rdctl-no skip-l1dfl-vmentry",
      .versions = {
          { .note = "no MPX, no MONITOR", .change = "-monitor -mpx" },
          { .note = "XSAVES, no MPX, no MONITOR", .change = "+xsaves" },
      } },
    { .name = "Snowridge",
      .id = "Intel Atom Processor (SnowRidge)",
      .vendor = INTEL, .family = 6, .model = 134, .stepping = 1,
      .level = 0x1b, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave rdrand fsgsbase smep erms mpx rdseed smap clflushopt clwb "
        "sha-ni umip gfni cldemote movdiri movdir64b spec-ctrl arch-capabilities "
        "core-capability ssbd syscall nx pdpe1gb rdtscp lm lahf-lm 3dnowprefetch xsaveopt "
        "xsavec xgetbv1 arat split-lock-detect",
      .versions = {
          { .id = "Intel Atom Processor (Snowridge, no MPX)", .change = "-mpx" },
          { .note = "XSAVES, no MPX", .change = "+xsaves" },
          { .note = "no split lock detect, no core-capability",
            .change = "-core-capability -split-lock-detect" },
      } },
    { .name = "KnightsMill",
      .id = "Intel Xeon Phi Processor (Knights Mill)",
      .vendor = INTEL, .family = 6, .model = 133, .stepping = 0,
      .level = 0xd, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 ss pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms avx512f "
        "rdseed adx avx512pf avx512er avx512cd avx512-vpopcntdq avx512-4vnniw avx512-4fmaps "
        "syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt arat" },
    { .name = "Opteron_G1",
      .id = "AMD Opteron 240 (Gen 1 Class Opteron)",
      .vendor = AMD, .family = 15, .model = 6, .stepping = 1,
      .level = 0x5, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni syscall nx lm" },
    { .name = "Opteron_G2",
      .id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
      .vendor = AMD, .family = 15, .model = 6, .stepping = 1,
      .level = 0x5, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni cx16 syscall nx lm lahf-lm svm" },
    { .name = "Opteron_G3",
      .id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
      .vendor = AMD, .family = 16, .model = 2, .stepping = 3,
      .level = 0x5, .xlevel = 0x80000008,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor cx16 popcnt syscall nx rdtscp lm lahf-lm svm abm sse4a "
        "misalignsse" },
    { .name = "Opteron_G4",
      .id = "AMD Opteron 62xx class CPU",
      .vendor = AMD, .family = 21, .model = 1, .stepping = 2,
      .level = 0xd, .xlevel = 0x8000001a,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 popcnt aes xsave avx syscall nx "
        "pdpe1gb rdtscp lm lahf-lm svm abm sse4a misalignsse 3dnowprefetch xop fma4 npt "
        "nrip-save" },
    { .name = "Opteron_G5",
      .id = "AMD Opteron 63xx class CPU",
      .vendor = AMD, .family = 21, .model = 2, .stepping = 0,
      .level = 0xd, .xlevel = 0x8000001a,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 popcnt aes xsave avx f16c "
        "syscall nx pdpe1gb rdtscp lm lahf-lm svm abm sse4a misalignsse 3dnowprefetch xop "
        "fma4 tbm npt nrip-save" },
    { .name = "EPYC",
      .id = "AMD EPYC Processor",
      .vendor = AMD, .family = 23, .model = 1, .stepping = 2,
      .level = 0xd, .xlevel = 0x8000001e, .caches = &epyc_caches,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aes "
        "xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni "
        "syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a "
        "misalignsse 3dnowprefetch osvw topoext npt nrip-save xsaveopt xsavec xgetbv1 arat",
      .versions = {
          { .alias = "EPYC-IBPB", .id = "AMD EPYC Processor (with IBPB)", .change = "+ibpb" },
          { .id = "AMD EPYC Processor", .change = "+perfctr-core +clzero +xsaveerptr +xsaves" },
      } },
    { .name = "EPYC-Rome",
      .id = "AMD EPYC-Rome Processor",
      .vendor = AMD, .family = 23, .model = 49, .stepping = 0,
      .level = 0xd, .xlevel = 0x8000001e, .caches = &rome_caches,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aes "
        "xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt clwb "
        "sha-ni umip rdpid syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy "
        "abm sse4a misalignsse 3dnowprefetch osvw topoext perfctr-core clzero xsaveerptr "
        "wbnoinvd ibpb amd-stibp npt nrip-save xsaveopt xsavec xgetbv1 xsaves arat",
      .versions = {
          { .change = "+ibrs +amd-ssbd" },
      } },
    { .name = "EPYC-Milan",
      .id = "AMD EPYC-Milan Processor",
      .vendor = AMD, .family = 25, .model = 1, .stepping = 1,
      .level = 0xd, .xlevel = 0x8000001e, .caches = &milan_caches,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid rdseed adx smap "
        "clflushopt clwb sha-ni umip pku rdpid fsrm syscall nx mmxext fxsr-opt pdpe1gb rdtscp "
        "lm lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch osvw topoext "
        "perfctr-core clzero xsaveerptr wbnoinvd ibpb ibrs amd-stibp amd-ssbd npt nrip-save "
        "svme-addr-chk xsaveopt xsavec xgetbv1 xsaves arat" },
    { .name = "EPYC-Genoa",
      .id = "AMD EPYC-Genoa Processor",
      .vendor = AMD, .family = 25, .model = 17, .stepping = 0,
      .level = 0xd, .xlevel = 0x80000022, .caches = &genoa_caches,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid avx512f "
        "avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha-ni avx512bw "
        "avx512vl avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni "
        "avx512bitalg avx512-vpopcntdq la57 rdpid fsrm avx512-bf16 syscall nx mmxext fxsr-opt "
        "pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch osvw "
        "topoext perfctr-core clzero xsaveerptr wbnoinvd ibpb ibrs amd-stibp stibp-always-on "
        "amd-ssbd amd-psfd no-nested-data-bp lfence-always-serializing null-sel-clr-base "
        "auto-ibrs npt nrip-save vnmi svme-addr-chk xsaveopt xsavec xgetbv1 xsaves arat" },
    { .name = "Dhyana",
      .id = "Hygon Dhyana Processor",
      .vendor = HYGON, .family = 24, .model = 0, .stepping = 1,
      .level = 0xd, .xlevel = 0x8000001e, .caches = &epyc_caches,
      .features =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt xsave avx f16c "
        "rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt syscall nx mmxext "
        "fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch "
        "osvw topoext ibpb npt nrip-save xsaveopt xsavec xgetbv1 arat",
      .versions = {
          { .note = "XSAVES", .change = "+xsaves" },
      } },
};
/* clang-format on */

const unsigned cpu_model_entry_count = G_N_ELEMENTS(cpu_model_entries);

/* How many versions there are; the first is the entry itself. */
static unsigned version_count(const CpuModelEntry *entry)
{
    unsigned count = 1;
    while (count <= CPU_MODEL_VERSIONS - 1 && entry->versions[count - 1].change) {
        count++;
    }
    return count;
}

static void apply_change(CpuDefinition *def, const char *change)
{
    g_auto(GStrv) words = g_strsplit(change, " ", -1);
    for (unsigned i = 0; words[i]; i++) {
        uint32_t masks[FEATURE_WORDS] = { 0 };
        if (words[i][0] == '\0') {
            continue;
        }
        feature_add_list(words[i] + 1, masks);
        for (unsigned word = 0; word < FEATURE_WORDS; word++) {
            if (words[i][0] == '+') {
                def->features[word] |= masks[word];
            } else {
                def->features[word] &= ~masks[word];
            }
        }
    }
}

static void define(const CpuModelEntry *entry, unsigned version, CpuDefinition *def)
{
    *def = (CpuDefinition){ .entry = entry,
                            .version = version,
                            .id = entry->id,
                            .model = entry->model,
                            .stepping = entry->stepping };
    feature_add_list(entry->features, def->features);
    for (unsigned i = 0; i + 1 < version; i++) {
        const CpuModelVersion *v = &entry->versions[i];
        def->id = v->id ? v->id : def->id;
        def->model = v->model ? v->model : def->model;
        def->stepping = v->stepping ? v->stepping : def->stepping;
        apply_change(def, v->change);
    }
}

/* The version that the name means, 0: none of this model. */
static unsigned name_version(const CpuModelEntry *entry, const char *name)
{
    unsigned count = version_count(entry);
    size_t len = strlen(entry->name);
    if (strcmp(name, entry->name) == 0) {
        return 1;
    }
    if (strncmp(name, entry->name, len) == 0 && strncmp(name + len, "-v", 2) == 0) {
        unsigned number = (unsigned)(name[len + 2] - '0');
        return number >= 1 && number <= count && name[len + 3] == '\0' ? number : 0;
    }
    for (unsigned i = 0; i + 1 < count; i++) {
        if (g_strcmp0(entry->versions[i].alias, name) == 0) {
            return i + 2;
        }
    }
    return 0;
}

bool cpu_models_find(const char *name, CpuDefinition *out)
{
    for (unsigned i = 0; i < cpu_model_entry_count; i++) {
        unsigned version = name_version(&cpu_model_entries[i], name);
        if (version) {
            define(&cpu_model_entries[i], version, out);
            return true;
        }
    }
    return false;
}

void cpu_models_foreach(CpuModelFn *fn, void *opaque)
{
    for (unsigned i = 0; i < cpu_model_entry_count; i++) {
        const CpuModelEntry *entry = &cpu_model_entries[i];
        for (unsigned version = 1; version <= version_count(entry); version++) {
            const CpuModelVersion *v = version > 1 ? &entry->versions[version - 2] : NULL;
            g_autofree char *name = g_strdup_printf("%s-v%u", entry->name, version);
            CpuDefinition def;
            define(entry, version, &def);
            if (version == 1) {
                fn(entry->name, name, &def, NULL, opaque);
            }
            fn(name, NULL, &def, v ? v->note : NULL, opaque);
            if (v && v->alias) {
                fn(v->alias, name, &def, NULL, opaque);
            }
        }
    }
}
