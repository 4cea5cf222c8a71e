/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Segments of older layouts, so that an upgrade keeps the staples. Layout 3 is
 * the oldest that was ever released.
 *
 * The one idea: an old segment is never worked with. It is copied, word by
 * word, into a new one of the present layout, which is then checked and read
 * like any other; so the rest of the room knows one layout. A layout that is
 * to come adds one function here, from the layout before it to itself.
 *
 * 3 to 4: a state has a tenth word, and a name 8 bytes less. The positions of
 * records do not depend on where the data area begins, and their sums do not
 * depend on the layout: the log is copied as it is.
 */

#include "segment.h"

#include <sys/mman.h>

/* ---- Layout 3. ---- */

#define STATE_WORDS_3 9
#define NAME_LEN_3 56

typedef struct slot_3_t {
    word_t served;
    word_t pending;
    unsigned char id[STAPLE_ID_LEN];
    _Atomic apr_uint32_t seq;
    _Atomic apr_uint32_t wanted;
    word_t state_sum;
    word_t state[STATE_WORDS_3];
    word_t served_count;
    word_t missed_count;
    char name[NAME_LEN_3];
} slot_3_t;

/* What follows the counters of the writer in its header. */
typedef struct tail_3_t {
    apr_uint64_t claim_and_requests[8];
    word_t journal_slot;
    word_t journal_sum;
    word_t journal[STATE_WORDS_3];
    word_t share[10];
    apr_uint64_t unused[3];
} tail_3_t;

#define TAIL_OFFSET_3 192

_Static_assert(sizeof(slot_3_t) == 208, "slots of layout 3");
_Static_assert(TAIL_OFFSET_3 + sizeof(tail_3_t) == sizeof(header_t),
               "headers of layout 3 and 4 have the same size");

static apr_uint64_t sum_3(const unsigned char *id, const word_t *words)
{
    apr_uint64_t sum = hash_id(id);
    unsigned int i;

    for (i = 0; i < STATE_WORDS_3; i++) {
        sum = scramble(sum + word_get(&words[i]), 0x9FB21C651E98DF25u);
    }
    return sum;
}

/* A state is in its slot, or in the journal if a writer was killed. One whose
 * sum is wrong becomes the state of a certificate that was never asked for. */
static void copy_state_3(slot_t *to, const slot_3_t *from,
                         const tail_3_t *tail)
{
    int in_journal = atomic_load(&from->seq) % 2;
    const word_t *words = in_journal ? tail->journal : from->state;
    apr_uint64_t sum = word_get(in_journal ? &tail->journal_sum
                                           : &from->state_sum);
    state_words_t state;
    unsigned int i;

    memset(state, 0, sizeof(state));
    for (i = 0; sum == sum_3(from->id, words) && i < STATE_WORDS_3; i++) {
        state[i] = word_get(&words[i]);
    }
    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        word_put(&to->state[i], state[i]);
    }
    word_put(&to->state_sum, state_sum(to, state));
}

static void copy_slot_3(slot_t *to, const slot_3_t *from, const tail_3_t *tail)
{
    word_put(&to->served, word_get(&from->served));
    word_put(&to->pending, word_get(&from->pending));
    memcpy(to->id, from->id, sizeof(to->id));
    wanted_put(to, atomic_load(&from->wanted));
    copy_state_3(to, from, tail);
    word_put(&to->served_count, word_get(&from->served_count));
    word_put(&to->missed_count, word_get(&from->missed_count));
    if (!from->name[NAME_LEN_3 - 1]) {
        staple_cache_write_name(to, from->name);
    }
}

static void copy_header_3(header_t *to, const header_t *from,
                          const tail_3_t *tail)
{
    staple_cache_lay_out(to, from->slots, staple_cache_data_offset(from->slots)
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
    memcpy(&to->share_hits, tail->share, sizeof(tail->share));
}

/* Into memory that is all 0; the old header has been checked. */
static void copy_3(char *to, const char *from)
{
    const header_t *old = (const header_t *)from;
    const tail_3_t *tail = (const tail_3_t *)(from + TAIL_OFFSET_3);
    const slot_3_t *slots = (const slot_3_t *)(from + old->slots_offset);
    header_t *header = (header_t *)to;
    apr_uint32_t i;

    copy_header_3(header, old, tail);
    for (i = 0; i < old->slots; i++) {
        copy_slot_3((slot_t *)(to + header->slots_offset) + i, &slots[i],
                    tail);
    }
    memcpy(to + header->buckets_offset, from + old->buckets_offset,
           old->buckets * sizeof(apr_uint32_t));
    memcpy(to + header->data_offset, from + old->data_offset,
           (apr_size_t)old->data_size);
}

static const char *update_3(void **base, apr_size_t *size)
{
    const header_t *old = *base;
    apr_size_t length = (apr_size_t)(staple_cache_data_offset(old->slots)
                                     + old->data_size);
    void *copy = staple_cache_private(length);

    if (!copy) {
        return "is of an older version, for which there is no memory";
    }
    copy_3(copy, *base);
    munmap(*base, *size);
    *base = copy;
    *size = length;
    return NULL;
}

/* ---- All of them. ---- */

apr_uint32_t staple_cache_slot_size(apr_uint32_t version)
{
    switch (version) {
    case 3:
        return sizeof(slot_3_t);
    case STAPLE_CACHE_VERSION:
        return sizeof(slot_t);
    default:
        return 0;
    }
}

const char *staple_cache_update(void **base, apr_size_t *size)
{
    const header_t *header = *base;
    const char *why = staple_cache_check_header(header, *size);

    return why || header->version == STAPLE_CACHE_VERSION
           ? why : update_3(base, size);
}
