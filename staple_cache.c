/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ring as those see it who read it: a response, its slot, a state, how
 * full it is. What a segment looks like is in cache/layout.h, what callers
 * may expect in staple_cache.h, the other files of the room are listed in
 * cache/segment.h, and the whole with drawings and a worked example is
 * docs/ring.md. Nothing here takes a lock or writes to the segment, and a
 * handshake calls nothing of the ring but this. No OCSP, no log, no httpd.
 *
 * The one idea: a slot is one word that says where the certificate's record
 * lies. A record never changes where it lies, and its bytes are not used again
 * before the word says something else. So a reader takes the word, copies the
 * record, and looks at the word again: if it is the same, the copy is whole.
 */

#include "cache/segment.h"

/* How often a reader begins anew because its record was replaced under its
 * hands. Each time a writer has stored a whole record meanwhile. */
#define READ_TRIES 64

/* ---- A response. ---- */

/* Copy whole blocks to dst, summing them up; none of them is the last. */
static inline void copy_run(sum_t *sum, unsigned char *dst, const word_t *from,
                            apr_size_t blocks)
{
    sum_t local = *sum;
    apr_size_t i;

    for (i = 0; i < blocks; i++) {
        block_t block = block_get(from + i * STAPLE_CACHE_BLOCK_WORDS);

        block_copy(dst + i * STAPLE_CACHE_BLOCK, &block);
        sum_block(&local, &block);
    }
    *sum = local;
}

/* Copy the DER bytes that begin at a block; wraps at most once. */
static inline void copy_der(const staple_cache_t *cache, sum_t *sum,
                            unsigned char *dst, apr_size_t len,
                            apr_uint64_t at)
{
    apr_size_t whole = len / STAPLE_CACHE_BLOCK;
    apr_size_t rest = len % STAPLE_CACHE_BLOCK;
    apr_size_t run = cache->blocks - at < whole
                     ? (apr_size_t)(cache->blocks - at) : whole;

    copy_run(sum, dst, block_words(cache, at), run);
    if (run < whole) {
        copy_run(sum, dst + run * STAPLE_CACHE_BLOCK, block_words(cache, 0),
                 whole - run);
    }
    if (rest) {
        block_t last;

        at += whole;
        last = block_get(block_words(cache, at < cache->blocks
                                            ? at : at - cache->blocks));
        sum_block(sum, &last);
        memcpy(dst + whole * STAPLE_CACHE_BLOCK, &last, rest);
    }
}

/*
 * Copy the record that a mark names. What comes back is true only if the mark
 * still stands afterwards.
 */
static inline apr_status_t copy_record(const staple_cache_t *cache, int slot,
                                       apr_uint64_t mark, unsigned char *buf,
                                       apr_size_t size, record_t *record)
{
    block_t first;
    apr_uint64_t at;
    sum_t sum;

    if (!is_mark(mark)) {
        return APR_NOTFOUND;
    }
    at = block_at(cache, marked(mark));
    first = block_get(block_words(cache, at));
    memcpy(record, &first, sizeof(*record));
    if (!is_framed(cache, record) || record->slot != (apr_uint32_t)slot) {
        return APR_NOTFOUND;
    }
    if (record->len > size) {
        return APR_ENOSPC;
    }
    sum_begin(&sum, cache->slots[slot].id);
    sum_first(&sum, first);
    copy_der(cache, &sum, buf, record->len, next_block(cache, at));
    return sum_end(&sum) == record->sum ? APR_SUCCESS : APR_NOTFOUND;
}

static inline void copy_meta(staple_cache_meta_t *meta, const record_t *record)
{
    meta->this_update = record->this_update;
    meta->next_update = record->next_update;
    meta->fetched_at = record->fetched_at;
    meta->status = record->status;
    meta->flags = record->flags;
}

/* What `word`, one of the slot's marks, names. The record's first block comes
 * back in any case but APR_NOTFOUND. */
static inline apr_status_t read_marked(const staple_cache_t *cache, int slot,
                                       const word_t *word, unsigned char *buf,
                                       apr_size_t size, record_t *record)
{
    apr_status_t rv;
    int tries;

    for (tries = 0; tries < READ_TRIES; tries++) {
        apr_uint64_t mark = mark_take(word);

        if (!mark) {
            break;
        }
        rv = copy_record(cache, slot, mark, buf, size, record);
        if (!mark_still(word, mark)) {
            continue;
        }
        return rv;
    }
    return APR_NOTFOUND;
}

static inline apr_status_t hand_out(apr_status_t rv, const record_t *record,
                                    apr_size_t *len, staple_cache_meta_t *meta)
{
    *len = rv == APR_NOTFOUND ? 0 : record->len;
    if (meta && rv != APR_NOTFOUND) {
        copy_meta(meta, record);
    }
    return rv;
}

apr_status_t staple_cache_read(const staple_cache_t *cache, int slot,
                               unsigned char *buf, apr_size_t size,
                               apr_size_t *len, staple_cache_meta_t *meta)
{
    const slot_t *s = slot_of(cache, slot);
    apr_status_t rv = APR_NOTFOUND;
    record_t record;

    if (s) {
        rv = read_marked(cache, slot, &s->served, buf, size, &record);
    }
    return hand_out(rv, &record, len, meta);
}

apr_status_t staple_cache_read_pending(const staple_cache_t *cache, int slot,
                                       unsigned char *buf, apr_size_t size,
                                       apr_size_t *len,
                                       staple_cache_meta_t *meta)
{
    const slot_t *s = slot_of(cache, slot);
    apr_status_t rv = APR_NOTFOUND;
    record_t record;

    if (s && is_pending(s)) {
        rv = read_marked(cache, slot, &s->pending, buf, size, &record);
    }
    return hand_out(rv, &record, len, meta);
}

apr_size_t staple_cache_pending(const staple_cache_t *cache)
{
    apr_size_t count = 0;
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        count += is_pending(&cache->slots[i]) ? 1 : 0;
    }
    return count;
}

/* ---- A slot. ---- */

apr_size_t staple_cache_count(const staple_cache_t *cache)
{
    return cache->slots_count;
}

const unsigned char *staple_cache_id(const staple_cache_t *cache, int slot)
{
    const slot_t *s = slot_of(cache, slot);

    return s ? s->id : NULL;
}

/* A file may hold anything, so no name is believed to end. */
static void read_label(const label_t *label, staple_cache_about_t *about)
{
    about->name = label->name[STAPLE_CACHE_NAME_LEN - 1] ? "" : label->name;
    about->not_after = label->not_after;
    about->traits = label->traits;
}

void staple_cache_about(const staple_cache_t *cache, int slot,
                        staple_cache_about_t *about)
{
    static const label_t none;
    const slot_t *s = slot_of(cache, slot);

    read_label(s ? &s->label : &none, about);
}

apr_size_t staple_cache_others(const staple_cache_t *cache)
{
    return cache->others_count;
}

void staple_cache_other(const staple_cache_t *cache, apr_size_t i,
                        staple_cache_other_t *other)
{
    other->id = cache->others[i].id;
    read_label(&cache->others[i].label, &other->about);
}

int staple_cache_find(const staple_cache_t *cache,
                      const unsigned char id[STAPLE_ID_LEN])
{
    apr_uint32_t bucket = first_bucket(id, cache->buckets_count);
    apr_uint32_t tries;

    for (tries = 0; tries < cache->buckets_count; tries++) {
        apr_uint32_t slot = cache->buckets[bucket] - 1;

        if (slot >= cache->slots_count) {
            break;
        }
        if (same_id(cache->slots[slot].id, id)) {
            return (int)slot;
        }
        if (++bucket == cache->buckets_count) {
            bucket = 0;
        }
    }
    return -1;
}

/* ---- The state beside the slot. ---- */

void staple_cache_state(const staple_cache_t *cache, int slot,
                        staple_cache_state_t *state)
{
    const slot_t *s = slot_of(cache, slot);
    int tries;

    for (tries = 0; s && tries < READ_TRIES; tries++) {
        apr_uint32_t seq = seq_take(s);
        state_words_t words;
        apr_uint64_t sum;

        if (seq % 2) {
            state_get(words, cache->header->journal);
            sum = word_get(&cache->header->journal_sum);
        }
        else {
            state_get(words, s->state);
            sum = word_get(&s->state_sum);
        }
        if (seq_still(s, seq)) {
            if (sum != state_sum(s, words)) {
                break;
            }
            memcpy(state, words, sizeof(*state));
            return;
        }
    }
    memset(state, 0, sizeof(*state));
}

/* ---- The whole. ---- */

apr_time_t staple_cache_created(const staple_cache_t *cache)
{
    return cache->header->created;
}

apr_uint64_t staple_cache_live_bytes(const staple_cache_t *cache,
                                     const slot_t *slot)
{
    apr_uint64_t mark = mark_take(&slot->served);
    apr_uint64_t bytes;
    record_t record;

    mark = mark ? mark : mark_take(&slot->pending);
    if (!is_mark(mark)
        || marked(mark) - word_get(&cache->header->tail) >= used_bytes(cache)) {
        return 0;
    }
    bytes = record_at(cache, marked(mark), &record);
    return bytes && &cache->slots[record.slot] == slot ? bytes : 0;
}

void staple_cache_usage(const staple_cache_t *cache,
                        staple_cache_usage_t *usage)
{
    const header_t *header = cache->header;
    apr_uint32_t i;

    memset(usage, 0, sizeof(*usage));
    usage->size = cache->length;
    usage->data_size = (apr_size_t)cache->data_size;
    usage->stored = word_get(&header->stored);
    usage->moved = word_get(&header->moved);
    usage->refused = word_get(&header->refused);
    usage->generation = header->generation;
    usage->created = header->created;
    for (i = 0; i < cache->slots_count; i++) {
        apr_uint64_t bytes = staple_cache_live_bytes(cache, &cache->slots[i]);

        usage->live += (apr_size_t)bytes;
        usage->records += bytes ? 1 : 0;
    }
}
