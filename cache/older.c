/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Segments of older layouts, so that an upgrade keeps the staples. Layout 3 is
 * the oldest that was ever released.
 *
 * The one idea: an old segment is never worked with. It is copied, word by
 * word, into a new one of the present layout, which is then checked and read
 * like any other; so the rest of the room knows one layout.
 *
 * Layouts 3 and 4 had a shorter header, whose end began after the words of a
 * state, slots of 208 bytes, in which the name had what those words left, and
 * nothing of certificates without a slot. The positions of records do not
 * depend on where the data area begins, and their sums do not depend on the
 * layout: the log is copied as it is.
 */

#include "segment.h"

#include <sys/mman.h>

#define OLDEST 3
#define HEADER_SIZE 448
#define SLOT_SIZE 208

/* Offsets in such a header. */
#define JOURNAL_SUM 264
#define JOURNAL 272

/* Offsets in such a slot. */
#define STATE 64

/* What layouts 3 and 4 differ in. */
static unsigned int state_words_of(apr_uint32_t version)
{
    return version == 3 ? 9 : 10;
}

/* The beginning of a slot has never changed. */
typedef struct old_slot_t {
    word_t served;
    word_t pending;
    unsigned char id[STAPLE_ID_LEN];
    _Atomic apr_uint32_t seq;
    _Atomic apr_uint32_t wanted;
    word_t state_sum;
} old_slot_t;

_Static_assert(sizeof(old_slot_t) == STATE, "slots of older layouts");

/* A segment that is read. */
typedef struct old_t {
    const char *base;
    const header_t *header; /* as far as sum, and the words of the writer */
    unsigned int words;     /* of a state */
} old_t;

static const word_t *words_at(const char *base, apr_size_t offset)
{
    return (const word_t *)(base + offset);
}

static apr_uint64_t old_sum(const old_t *old, const unsigned char *id,
                            const word_t *words)
{
    apr_uint64_t sum = hash_id(id);
    unsigned int i;

    for (i = 0; i < old->words; i++) {
        sum = scramble(sum + word_get(&words[i]), 0x9FB21C651E98DF25u);
    }
    return sum;
}

/* A state is in its slot, or in the journal if a writer was killed. One whose
 * sum is wrong becomes the state of a certificate that was never asked for. */
static void copy_state(slot_t *to, const old_t *old, const old_slot_t *from)
{
    int in_journal = atomic_load(&from->seq) % 2;
    const word_t *words = in_journal ? words_at(old->base, JOURNAL)
                                     : words_at((const char *)from, STATE);
    apr_uint64_t sum = word_get(in_journal ? words_at(old->base, JOURNAL_SUM)
                                           : &from->state_sum);
    state_words_t state;
    unsigned int i;

    memset(state, 0, sizeof(state));
    for (i = 0; sum == old_sum(old, from->id, words) && i < old->words; i++) {
        state[i] = word_get(&words[i]);
    }
    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        word_put(&to->state[i], state[i]);
    }
    word_put(&to->state_sum, state_sum(to, state));
}

static void copy_slot(slot_t *to, const old_t *old, const old_slot_t *from)
{
    apr_size_t behind = STATE + old->words * sizeof(word_t);
    const word_t *counts = words_at((const char *)from, behind);
    const char *name = (const char *)(counts + 2);

    word_put(&to->served, word_get(&from->served));
    word_put(&to->pending, word_get(&from->pending));
    memcpy(to->id, from->id, sizeof(to->id));
    wanted_put(to, atomic_load(&from->wanted));
    copy_state(to, old, from);
    word_put(&to->served_count, word_get(&counts[0]));
    word_put(&to->missed_count, word_get(&counts[1]));
    if (!((const char *)from)[SLOT_SIZE - 1]) {
        staple_cache_write_name(&to->label, name);
    }
}

static void copy_header(header_t *to, const old_t *old)
{
    const header_t *from = old->header;
    const word_t *share = words_at(old->base, JOURNAL
                                              + old->words * sizeof(word_t));

    staple_cache_lay_out(to, from->slots, 0,
                         staple_cache_data_offset(from->slots)
                         + from->data_size);
    to->start = from->start;
    to->generation = from->generation;
    to->created = from->created;
    to->sum = staple_cache_header_sum(to);
    word_put(&to->head, word_get(&from->head));
    word_put(&to->tail, word_get(&from->tail));
    word_put(&to->longest, word_get(&from->longest));
    word_put(&to->stored, word_get(&from->stored));
    word_put(&to->moved, word_get(&from->moved));
    word_put(&to->refused, word_get(&from->refused));
    memcpy(&to->share_hits, share, 10 * sizeof(*share));
}

/* Into memory that is all 0; the old header has been checked. */
static void copy_all(char *to, const old_t *old)
{
    const header_t *from = old->header;
    header_t *header = (header_t *)to;
    apr_uint32_t i;

    copy_header(header, old);
    for (i = 0; i < from->slots; i++) {
        copy_slot((slot_t *)(to + header->slots_offset) + i, old,
                  (const old_slot_t *)(old->base + from->slots_offset
                                       + (apr_size_t)i * SLOT_SIZE));
    }
    memcpy(to + header->buckets_offset, old->base + from->buckets_offset,
           from->buckets * sizeof(apr_uint32_t));
    memcpy(to + header->data_offset, old->base + from->data_offset,
           (apr_size_t)from->data_size);
}

static const char *update(void **base, apr_size_t *size)
{
    const header_t *header = *base;
    old_t old = { *base, *base, state_words_of(header->version) };
    apr_size_t length = (apr_size_t)(staple_cache_data_offset(header->slots)
                                     + header->data_size);
    void *copy = staple_cache_private(length);

    if (!copy) {
        return "is of an older version, for which there is no memory";
    }
    copy_all(copy, &old);
    munmap(*base, *size);
    *base = copy;
    *size = length;
    return NULL;
}

/* ---- All of them. ---- */

staple_cache_sizes_t staple_cache_sizes(apr_uint32_t version)
{
    static const staple_cache_sizes_t present = { sizeof(header_t),
                                                  sizeof(slot_t) };
    static const staple_cache_sizes_t old = { HEADER_SIZE, SLOT_SIZE };
    static const staple_cache_sizes_t none;

    if (version == STAPLE_CACHE_VERSION) {
        return present;
    }
    return version >= OLDEST && version < STAPLE_CACHE_VERSION ? old : none;
}

const char *staple_cache_update(void **base, apr_size_t *size)
{
    const header_t *header = *base;
    const char *why = staple_cache_check_header(header, *size);

    return why || header->version == STAPLE_CACHE_VERSION
           ? why : update(base, size);
}
