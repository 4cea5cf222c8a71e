/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_SEGMENT_H
#define STAPLE_CACHE_SEGMENT_H

/*
 * What the files of the room have in common and nobody else sees: a segment as
 * this process has it, and where in it things lie.
 *
 *   staple_cache.c   readers: they take no lock and write nothing
 *   cache/write.c    the one writer
 *   cache/count.c    what any process writes, and what the writer counts
 *   cache/segment.c  how large it is, what its header says, its mapping
 *   cache/make.c     the segment of a new generation
 *   cache/file.c     the file: what is found, and what is put there
 *   cache/helper.c   the process that makes the file, and where it waits
 *   cache/copy.c     the thread of the writer that copies to the file
 *   cache/ask.c      what the file's owner asks of the refresher
 *   cache/older.c    what an older version of the module has left
 *
 * Below them are cache/layout.h, the layout, cache/atomics.h, how
 * what may change is loaded and stored, and cache/blocks.h, how it is
 * copied and summed up. What is inline here a handshake goes through, or it is
 * smaller than a call.
 */

#include "blocks.h"

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef staple_cache_header_t header_t;
typedef staple_cache_record_t record_t;
typedef staple_cache_label_t label_t;
typedef staple_cache_listed_t listed_t;

/**
 * What is known of a segment is kept here, in private memory, once it has been
 * checked: a stray write to the header cannot lead anybody out of bounds.
 */
struct staple_cache_t {
    staple_cache_kept_t kept;
    const char *path; /* of the file; NULL: none is wanted */
    int file; /* its descriptor, in the process that copies; -1: it has none */
    struct staple_cache_copy_t *copy; /* NULL: this process does not copy */
    apr_size_t length;
    header_t *header;
    slot_t *slots;
    apr_uint32_t *buckets; /* slot + 1; 0: empty. Never changes */
    listed_t *others;
    word_t *data;
    apr_uint32_t slots_count;
    apr_uint32_t buckets_count;
    apr_uint32_t others_count;
    apr_uint64_t data_size;
    apr_uint64_t blocks; /* in the data area */
    apr_uint64_t start;
    word_t asked[STAPLE_CACHE_ASKED];  /* what the file's owner asks, handed on
                                          within the refresher */
    staple_cache_counters_t *counters; /* NULL: nobody counts */
    apr_uint32_t counters_count;       /* of slots, in there */
};

/* ---- The copy, cache/copy.c. ---- */

/**
 * A slot has changed, which a word of it tells apart: the file is to have it
 * as it is now. In whatever thread has changed it, afterwards.
 */
void staple_cache_note_change(const staple_cache_t *cache, const void *word);

/* ---- Slots. ---- */

/** NULL: there is no such slot. */
static inline slot_t *slot_of(const staple_cache_t *cache, int slot)
{
    return slot >= 0 && (apr_uint32_t)slot < cache->slots_count
           ? &cache->slots[slot] : NULL;
}

/** Whether a slot has a response that waits to be confirmed. */
static inline int is_pending(const slot_t *slot)
{
    return mark_take(&slot->pending) && !mark_take(&slot->served);
}

/** Where the search for an id begins: its hash, scaled to the table. */
static inline apr_uint32_t first_bucket(const unsigned char *id,
                                        apr_uint32_t buckets)
{
    return (apr_uint32_t)(((hash_id(id) >> 32) * buckets) >> 32);
}

/* ---- Positions, and the marks that name them. ---- */

/** The number of the block at which a position lies. */
static inline apr_uint64_t block_at(const staple_cache_t *cache,
                                    apr_uint64_t position)
{
    return (position - cache->start) / STAPLE_CACHE_BLOCK % cache->blocks;
}

static inline word_t *block_words(const staple_cache_t *cache,
                                  apr_uint64_t block)
{
    return cache->data + block * STAPLE_CACHE_BLOCK_WORDS;
}

static inline apr_uint64_t next_block(const staple_cache_t *cache,
                                      apr_uint64_t block)
{
    return ++block == cache->blocks ? 0 : block;
}

static inline apr_uint64_t mark_of(apr_uint64_t position)
{
    return position + 1;
}

static inline apr_uint64_t marked(apr_uint64_t mark)
{
    return mark - 1;
}

/** Whether a mark, which a stray write may have made, can be one. */
static inline int is_mark(apr_uint64_t mark)
{
    return mark % STAPLE_CACHE_BLOCK == 1;
}

/** Bytes between tail and head, dead records included. */
static inline apr_uint64_t used_bytes(const staple_cache_t *cache)
{
    return word_get(&cache->header->head) - word_get(&cache->header->tail);
}

/* ---- Records. ---- */

/** How many blocks the DER bytes of a response fill. */
static inline apr_size_t der_blocks(apr_size_t len)
{
    return (len + STAPLE_CACHE_BLOCK - 1) / STAPLE_CACHE_BLOCK;
}

/** staple_cache_record_bytes without a call, for handshakes. */
static inline apr_uint64_t record_bytes(apr_size_t der_len)
{
    return sizeof(record_t) + der_blocks(der_len) * STAPLE_CACHE_BLOCK;
}

/**
 * Whether what lies there can be the beginning of a record of this segment.
 * The id makes that a check of 128 bits, besides the lengths.
 */
static inline int is_framed(const staple_cache_t *cache, const record_t *record)
{
    return record->len > 0 && record->len <= STAPLE_CACHE_DER_MAX
           && record->slot < cache->slots_count
           && record_bytes(record->len) <= cache->data_size
           && !memcmp(record->id, cache->slots[record->slot].id,
                      STAPLE_CACHE_ID_MARK);
}

/** The first block of the record at a position; bytes, or 0: not a record. */
static inline apr_uint64_t record_at(const staple_cache_t *cache,
                                   apr_uint64_t position, record_t *record)
{
    block_t block = block_get(block_words(cache, block_at(cache, position)));

    memcpy(record, &block, sizeof(*record));
    return is_framed(cache, record) ? record_bytes(record->len) : 0;
}

/* ---- The words of a state. ---- */

typedef apr_uint64_t state_words_t[STAPLE_CACHE_STATE_WORDS];

/** It begins with the id, so a state fits no other certificate. */
static inline apr_uint64_t state_sum(const slot_t *slot,
                                     const state_words_t words)
{
    apr_uint64_t sum = hash_id(slot->id);
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        sum = scramble(sum + words[i], 0x9FB21C651E98DF25u);
    }
    return sum;
}

static inline void state_get(state_words_t to, const word_t *from)
{
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        to[i] = word_get(&from[i]);
    }
}

/* ---- staple_cache.c ---- */

/** Bytes of the record that a slot points at; 0: none, or not a record. */
apr_uint64_t staple_cache_live_bytes(const staple_cache_t *cache,
                                     const slot_t *slot);

/* ---- cache/segment.c ---- */

/** Fill in what follows from the numbers of slots and others and the size. */
void staple_cache_lay_out(header_t *header, apr_uint32_t slots,
                          apr_uint32_t others, apr_uint64_t size);

/** Where the data begin that follow so many slots, and no others. */
apr_uint64_t staple_cache_data_offset(apr_uint32_t slots);

/** Let a cache have a segment whose header is right. From here on the header's
 * layout is not looked at again. What the cache keeps is not changed. */
void staple_cache_bind(staple_cache_t *cache, void *base, apr_size_t length);

/** The same for the counters, of which so many bytes are mapped. */
void staple_cache_bind_counters(staple_cache_t *cache, apr_size_t size);

/** Private memory, all 0, to be given back with munmap; NULL: there is none. */
void *staple_cache_private(apr_size_t size);

/* ---- cache/make.c ---- */

/** Into a label that is all 0. */
void staple_cache_write_name(label_t *label, const char *name);

/* ---- cache/count.c ---- */

/** Hand on to the refresher what is asked in the ring's file. In the thread
 * that copies. */
void staple_cache_take_asked(staple_cache_t *cache);

/** Leave a request in one of these places, as staple_cache_request does. */
apr_status_t staple_cache_put_request(const staple_cache_t *cache,
                                      word_t *places, int count, int slot,
                                      apr_uint32_t what);

/** Bytes of the counters beside a segment. */
apr_size_t staple_cache_counters_size(apr_size_t slots);

/* ---- cache/older.c ---- */

/** What layouts that can be read differ in, besides the words of a state. */
typedef struct staple_cache_sizes_t {
    apr_uint32_t header; /* bytes */
    apr_uint32_t slot;   /* bytes; 0: the layout cannot be read */
} staple_cache_sizes_t;

staple_cache_sizes_t staple_cache_sizes(apr_uint32_t version);

/**
 * Make what was read into private memory a segment of the present layout.
 * @param base the bytes; replaced, and the old ones given back, where they
 *        were of an older layout
 * @return NULL, or why they are no segment
 */
const char *staple_cache_update(void **base, apr_size_t *size);

/* ---- cache/write.c: for the writer ---- */

/**
 * Append a record and let one of its slot's marks point at it.
 * @param mark &slot->served or &slot->pending
 * @return APR_SUCCESS; APR_ENOSPC: there is no room, and the slot remembers
 *         how much was wanted
 */
apr_status_t staple_cache_append(staple_cache_t *cache, slot_t *slot,
                                 word_t *mark, const unsigned char *der,
                                 apr_size_t len,
                                 const staple_cache_meta_t *meta);

/** Replace a slot's state; the journal is free. */
void staple_cache_write_state(staple_cache_t *cache, slot_t *slot,
                              const staple_cache_state_t *state);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_SEGMENT_H */
