/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID of the guest: the caches (Intel SDM volume 2, leaves 2 and 4; AMD APM volume 3, E.4.4 and
 * E.4.15). Who shares them is cpuid_topology.c's. */
#include "vmm/kvm/x86/cpuid.h"

#define LINE_SIZE       64
#define AMD_TLB_L1      0x01ff01ffu /* 255 entries, directly mapped, data and code */
#define AMD_TLB_L2_4K   0x42004200u /* 512 entries, 4 ways, data and code */
#define BIT_TOPOEXT     22          /* 80000001 ECX */
#define DESC_LEVEL_1    0x2c30u     /* leaf 2: 32 KiB, 8 ways, data and code */
#define DESC_L2_2M      0x7du       /* 2 MiB, 8 ways */
#define DESC_L3_16M     0x4du       /* 16 MiB, 16 ways */
#define DESC_USE_LEAF_4 0xffu

/* Leaf 4 and AMD's 8000001D have one form (SDM table 3-8). */
static void put_leaf(CpuidTable *table, uint32_t function, uint32_t index, const CpuCache *cache)
{
    struct kvm_cpuid_entry2 *entry = cpuid_add(table, function, index, true);
    if (!entry || !cache) {
        return;
    }
    uint32_t sets = cache->kib * 1024 / LINE_SIZE / cache->ways;
    entry->eax = (uint32_t)cache->type | (uint32_t)cache->level << 5 |
                 (cache->set_up ? 0 : 1u << 8);
    entry->ebx = (LINE_SIZE - 1) | (uint32_t)(cache->ways - 1) << 22;
    entry->ecx = sets - 1;
    entry->edx = (cache->no_flush_below ? 1u : 0) | (cache->inclusive ? 2u : 0) |
                 (cache->complex ? 4u : 0);
}

static void put_leaves(CpuidTable *table, uint32_t function, const CpuCaches *caches, bool l3)
{
    put_leaf(table, function, 0, &caches->l1d);
    put_leaf(table, function, 1, &caches->l1i);
    put_leaf(table, function, 2, &caches->l2);
    if (l3) {
        put_leaf(table, function, 3, &caches->l3);
    }
    put_leaf(table, function, l3 ? 4 : 3, NULL);
}

static void put_descriptors(CpuidTable *table, const CpuModel *model)
{
    struct kvm_cpuid_entry2 *entry = cpuid_add(table, LEAF_CACHE_DESCRIPTORS, 0, false);
    if (!entry) {
        return;
    }
    entry->eax = 1;
    if (model->legacy_cache) {
        entry->ecx = model->l3_cache ? DESC_L3_16M : 0;
        entry->edx = DESC_LEVEL_1 << 8 | DESC_L2_2M;
    } else {
        entry->edx = DESC_USE_LEAF_4;
    }
}

/* How AMD's leaf 80000006 writes a number of ways. */
static uint32_t amd_ways(unsigned ways)
{
    static const struct {
        uint8_t ways, code;
    } codes[] = { { 1, 1 }, { 2, 2 }, { 4, 4 }, { 8, 6 }, { 16, 8 }, { 32, 0xa }, { 64, 0xc } };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (codes[i].ways == ways) {
            return codes[i].code;
        }
    }
    return 0xf;
}

static uint32_t amd_l1(const CpuCache *cache)
{
    return cache->kib << 24 | (uint32_t)cache->ways << 16 | (uint32_t)cache->lines_per_tag << 8 |
           LINE_SIZE;
}

static void put_amd(CpuidTable *table, const CpuCaches *caches, bool l3)
{
    struct kvm_cpuid_entry2 *l1 = cpuid_add(table, LEAF_AMD_L1, 0, false);
    struct kvm_cpuid_entry2 *l2 = cpuid_add(table, LEAF_AMD_L2, 0, false);
    if (!l1 || !l2) {
        return;
    }
    l1->eax = l1->ebx = AMD_TLB_L1;
    l1->ecx = amd_l1(&caches->l1d);
    l1->edx = amd_l1(&caches->l1i);
    l2->ebx = AMD_TLB_L2_4K;
    l2->ecx = caches->l2.kib << 16 | amd_ways(caches->l2.ways) << 12 |
              (uint32_t)caches->l2.lines_per_tag << 8 | LINE_SIZE;
    if (l3) {
        l2->edx = caches->l3.kib / 512 << 18 | amd_ways(caches->l3.ways) << 12 |
                  (uint32_t)caches->l3.lines_per_tag << 8 | LINE_SIZE;
    }
}

void cpuid_caches(const CpuModel *model, const CpuidTable *supported, CpuidTable *table)
{
    static const uint32_t functions[] = { LEAF_CACHE_DESCRIPTORS, LEAF_CACHE, LEAF_AMD_L1,
                                          LEAF_AMD_L2, LEAF_AMD_CACHE };
    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
        cpuid_remove(table, functions[i]);
        if (model->host_cache_info) {
            cpuid_copy(table, supported, functions[i]);
        }
    }
    if (model->host_cache_info) {
        return;
    }
    const CpuCaches *own = model->def.entry && !model->legacy_cache ? model->def.entry->caches
                                                                    : NULL;
    put_amd(table, own ? own : &legacy_caches_amd, model->l3_cache);
    bool amd = cpuid_is_amd(table);
    if (!amd || !model->vendor_cpuid_only) {
        put_descriptors(table, model);
        put_leaves(table, LEAF_CACHE, own ? own : &legacy_caches, model->l3_cache);
    }
    if (amd && cpuid_has(table, FEATURE_8000_0001_ECX, BIT_TOPOEXT)) {
        put_leaves(table, LEAF_AMD_CACHE, own ? own : &legacy_caches_amd, model->l3_cache);
    }
}
