/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See crash-bitmaps.h. */
#include "tests/unit/crash-bitmaps.h"

#include "block/bitmap_actions.h"

#define MOST_BITMAPS 4

typedef enum Form { ABSENT, IN_USE, STORED } Form;

/* What the disk says of a bitmap from some moment on. */
typedef struct State {
    Form form;
    Span set;
    bool enabled;
    unsigned granularity_bits;
    uint64_t bits;
    uint64_t *words;
    uint32_t *since; /* what each sector was when it began to record; NULL: it missed some */
} State;

struct LifeBitmap {
    char *name;
    bool here;         /* the open image has it */
    bool stored;       /* the file has it */
    uint32_t *since;   /* see State */
    GPtrArray *states; /* of State, the oldest first */
};

/* ---- What there was ---- */

static void state_free(void *opaque)
{
    State *state = opaque;
    g_free(state->words);
    g_free(state->since);
    g_free(state);
}

static void bitmap_forget(void *opaque)
{
    LifeBitmap *b = opaque;
    g_ptr_array_unref(b->states);
    g_free(b->since);
    g_free(b->name);
    g_free(b);
}

static State *add_state(LifeBitmap *b, Form form, unsigned issued)
{
    State *state = g_new0(State, 1);
    state->form = form;
    state->set.issued = issued;
    g_ptr_array_add(b->states, state);
    return state;
}

static State *last_state(const LifeBitmap *b)
{
    return b->states->pdata[b->states->len - 1];
}

static LifeBitmap *find(Life *l, const char *name)
{
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (!strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}

static LifeBitmap *get(Life *l, int number)
{
    g_autofree char *name = g_strdup_printf("b%d", number);
    LifeBitmap *b = find(l, name);
    if (!b) {
        b = g_new0(LifeBitmap, 1);
        b->name = g_steal_pointer(&name);
        b->states = g_ptr_array_new_with_free_func(state_free);
        add_state(b, ABSENT, 0)->set.ended = 1;
        l->bitmaps = l->bitmaps ? l->bitmaps : g_ptr_array_new_with_free_func(bitmap_forget);
        g_ptr_array_add(l->bitmaps, b);
    }
    return b;
}

static void record_from_now(Life *l, LifeBitmap *b, bool enabled)
{
    g_clear_pointer(&b->since, g_free);
    if (enabled) {
        b->since = g_new(uint32_t, l->model.sectors);
        for (uint64_t i = 0; i < l->model.sectors; i++) {
            b->since[i] = crash_model_value(&l->model, i);
        }
    }
}

void life_bitmaps_free(Life *l)
{
    g_clear_pointer(&l->bitmaps, g_ptr_array_unref);
}

/* ---- Changes ---- */

static unsigned begin(Life *l, const char *what, const LifeBitmap *b)
{
    g_autofree char *text = g_strdup_printf("%s-%s", what, b->name);
    return life_begin(l, text);
}

static LifeBitmap *any(Life *l)
{
    g_autoptr(GPtrArray) here = g_ptr_array_new();
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (b->here) {
            g_ptr_array_add(here, b);
        }
    }
    return here->len ? here->pdata[life_draw(l, here->len)] : NULL;
}

bool life_bitmap_add(Life *l)
{
    g_autoptr(GError) error = NULL;
    LifeBitmap *b = get(l, (int)life_draw(l, MOST_BITMAPS));
    bool disabled = life_draw(l, 6) == 0;
    if (b->here) {
        return false;
    }
    unsigned issued = begin(l, "add", b);
    BitmapAction *action =
        bitmap_action_add(l->node, b->name, 512ULL << life_draw(l, 8), true, disabled, &error);
    g_assert_no_error(error);
    bitmap_action_commit(action);
    add_state(b, IN_USE, issued);
    b->here = true;
    record_from_now(l, b, !disabled);
    return true;
}

/* While the directory changes, the header may say for a moment that there is none. */
static void hide_all(Life *l, unsigned issued)
{
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (b->stored) {
            add_state(b, ABSENT, issued);
        }
    }
}

bool life_bitmap_remove(Life *l)
{
    g_autoptr(GError) error = NULL;
    LifeBitmap *b = any(l);
    if (!b) {
        return false;
    }
    unsigned issued = begin(l, "remove", b);
    hide_all(l, issued);
    BitmapAction *action = bitmap_action_remove(l->node, b->name, &error);
    g_assert_no_error(error);
    bitmap_action_commit(action);
    b->here = b->stored = false;
    add_state(b, ABSENT, issued)->set.ended = power_tick(l->power);
    for (guint i = 0; i < l->bitmaps->len; i++) {
        LifeBitmap *other = l->bitmaps->pdata[i];
        if (other->stored) {
            add_state(other, IN_USE, issued)->set.ended = power_tick(l->power);
        }
    }
    return true;
}

bool life_bitmap_clear(Life *l)
{
    g_autoptr(GError) error = NULL;
    LifeBitmap *b = any(l);
    if (!b) {
        return false;
    }
    begin(l, "clear", b);
    BitmapAction *action = bitmap_action_clear(l->node, b->name, &error);
    g_assert_no_error(error);
    bitmap_action_commit(action);
    record_from_now(l, b, bitmap_find(l->node, b->name)->enabled);
    return true;
}

bool life_bitmap_merge(Life *l)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) sources = g_ptr_array_new();
    const LifeBitmap *to = any(l), *from = any(l);
    if (!to || to == from) {
        return false;
    }
    g_ptr_array_add(sources, bitmap_find(l->node, from->name));
    begin(l, "merge", to);
    BitmapAction *action = bitmap_action_merge(l->node, to->name, sources, &error);
    g_assert_no_error(error);
    bitmap_action_commit(action);
    return true;
}

bool life_bitmap_switch(Life *l)
{
    g_autoptr(GError) error = NULL;
    LifeBitmap *b = any(l);
    if (!b) {
        return false;
    }
    begin(l, "switch", b);
    bool on = bitmap_find(l->node, b->name)->enabled;
    bitmap_action_commit(on ? bitmap_action_disable(l->node, b->name, &error)
                            : bitmap_action_enable(l->node, b->name, &error));
    g_assert_no_error(error);
    g_clear_pointer(&b->since, g_free); /* it misses what comes, or missed what was */
    return true;
}

void life_bitmaps_resized(Life *l)
{
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        for (uint64_t k = life_sectors(l); b->since && k < l->model.sectors; k++) {
            b->since[k] = 0; /* a part that is new later is clean */
        }
    }
}

/* ---- Opening and closing ---- */

void life_bitmaps_opened(Life *l, unsigned issued)
{
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (b->here) {
            const BlockBitmap *bitmap = bitmap_find(l->node, b->name);
            g_assert_true(bitmap && !bitmap->inconsistent);
            add_state(b, IN_USE, issued)->set.ended = power_tick(l->power);
        }
    }
}

static uint64_t *copy_words(BlockBitmap *bitmap)
{
    uint64_t count = bitmap->bits / 64 + 1;
    uint64_t *words = g_new(uint64_t, count);
    for (uint64_t i = 0; i < count; i++) {
        words[i] = atomic_load(&bitmap->words[i]);
    }
    return words;
}

void life_bitmaps_closing(Life *l, unsigned issued)
{
    hide_all(l, issued);
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (!b->here) {
            continue;
        }
        BlockBitmap *bitmap = bitmap_find(l->node, b->name);
        State *state = add_state(b, STORED, issued);
        state->enabled = bitmap->enabled;
        state->granularity_bits = bitmap->granularity_bits;
        state->bits = bitmap->bits;
        state->words = copy_words(bitmap);
        state->since = b->since ? g_memdup2(b->since, l->model.sectors * sizeof(uint32_t)) : NULL;
    }
}

void life_bitmaps_closed(Life *l)
{
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        LifeBitmap *b = l->bitmaps->pdata[i];
        if (b->here) {
            last_state(b)->set.ended = power_tick(l->power);
            b->stored = true;
        }
    }
}

/* ---- After a crash ---- */

static bool is_as(BlockBitmap *bitmap, const State *state)
{
    if (state->form != STORED) {
        return state->form == ABSENT ? !bitmap : bitmap && bitmap->inconsistent;
    }
    if (!bitmap || bitmap->inconsistent || bitmap->enabled != state->enabled ||
        bitmap->granularity_bits != state->granularity_bits || bitmap->bits != state->bits) {
        return false;
    }
    g_autofree uint64_t *words = copy_words(bitmap);
    return memcmp(words, state->words, (state->bits / 64 + 1) * sizeof(uint64_t)) == 0;
}

/* The state that the disk has, of those that it may have. */
static const State *match(const LifeBitmap *b, BlockBitmap *bitmap, unsigned when)
{
    const State *found = NULL;
    for (guint i = 0; i < b->states->len; i++) {
        const State *state = b->states->pdata[i];
        if (state->set.issued > when) {
            break;
        }
        found = state->set.ended && state->set.ended <= when ? NULL : found;
        found = is_as(bitmap, state) ? state : found;
    }
    return found;
}

/* What is not what it was when the bitmap began is marked. */
static void check_truth(BlockNode *node, BlockBitmap *bitmap, const State *state, const char *what)
{
    uint64_t bytes = block_node_length(node);
    g_autofree uint8_t *data = g_malloc(bytes);
    g_assert_cmpint(block_pread(node, 0, data, bytes), ==, 0);
    for (uint64_t i = 0; i < bytes / SECTOR; i++) {
        uint64_t bit = i * SECTOR >> bitmap->granularity_bits;
        if (crash_value(data + i * SECTOR, i) != state->since[i] &&
            bitmap_next(bitmap, bit, bit + 1, true) != bit) {
            g_error("%s: bitmap %s does not know that sector %d was written", what, bitmap->name,
                    (int)i);
        }
    }
}

void crash_bitmaps_check(Life *l, BlockNode *node, unsigned when, bool touched, const char *what)
{
    guint known = 0;
    for (guint i = 0; l->bitmaps && i < l->bitmaps->len; i++) {
        const LifeBitmap *b = l->bitmaps->pdata[i];
        BlockBitmap *bitmap = bitmap_find(node, b->name);
        known += bitmap != NULL;
        if (touched && bitmap && bitmap->inconsistent) {
            continue;
        }
        const State *state = match(b, bitmap, when);
        if (!state) {
            g_error("%s: bitmap %s is %s", what, b->name,
                    !bitmap                ? "not there"
                    : bitmap->inconsistent ? "in use"
                                           : "another one");
        }
        if (state->form == STORED && state->since) {
            check_truth(node, bitmap, state, what);
        }
    }
    if (known != (node->bitmaps ? node->bitmaps->len : 0)) {
        g_error("%s: there is a bitmap too many", what);
    }
}

void crash_bitmaps_use(Life *l, BlockNode *node)
{
    uint8_t sector[SECTOR];
    crash_fill(sector, 0, 0xdeaf);
    for (int i = 0; i < MOST_BITMAPS; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);
        g_autoptr(GError) error = NULL;
        const BlockBitmap *bitmap = bitmap_find(node, name);
        if (bitmap && bitmap->inconsistent) {
            bitmap_action_commit(bitmap_action_remove(node, name, &error));
            g_assert_no_error(error);
        }
    }
    g_assert_cmpint(block_pwrite(node, 0, sector, SECTOR), ==, 0);
}

void crash_bitmaps_check_used(BlockNode *node, const char *what)
{
    for (guint i = 0; node->bitmaps && i < node->bitmaps->len; i++) {
        BlockBitmap *bitmap = node->bitmaps->pdata[i];
        if (bitmap->inconsistent || (bitmap->enabled && bitmap_next(bitmap, 0, 1, true) != 0)) {
            g_error("%s: bitmap %s did not go on", what, bitmap->name);
        }
    }
}
