/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The writer, of which there is one at a time: the log, what points into it,
 * and the state beside a slot with its journal. What it must not do to readers
 * is in staple_cache.c; what any process may write is in cache/count.c.
 *
 * The one idea: it appends at the head of a log that goes round. To make room
 * it looks at the record at the tail: if a slot points there it is appended
 * once more, else it is passed. What it does to publish a record, and what
 * there is if it is killed after each step:
 *
 *   step                      readers see    the next writer
 *   1 write beyond the head   the old one    writes over it
 *   2 the slot's word         the new one    finds it at the head: catch_up
 *   3 the head                the new one    goes on as if nothing happened
 *   4 pass the old record     the new one    goes on with the next
 *
 * So a killed writer leaves nothing but a head that is one record behind, and
 * not even a lost byte: that matters, because room is reckoned to the byte.
 *
 * Room: between writers, once dead records at the tail are passed, at least as
 * many bytes are free as the longest living record takes. So the record at the
 * tail can always be moved to the head, and nothing that lives is dropped.
 */

#include "segment.h"

/* ---- What the copy is told of. ---- */

static void put_mark(const staple_cache_t *cache, word_t *mark,
                     apr_uint64_t value)
{
    mark_publish(mark, value);
    staple_cache_note_change(cache, mark);
}

static void put_wanted(const staple_cache_t *cache, slot_t *slot,
                       apr_uint32_t bytes)
{
    wanted_put(slot, bytes);
    staple_cache_note_change(cache, slot);
}

/* ---- The log. ---- */

static apr_uint64_t free_bytes(const staple_cache_t *cache)
{
    return cache->data_size - used_bytes(cache);
}

/* The mark of the record's slot that points at it; NULL: it is dead. */
static word_t *pointer_to(const staple_cache_t *cache, const record_t *record,
                          apr_uint64_t position)
{
    slot_t *slot = &cache->slots[record->slot];

    if (word_get(&slot->served) == mark_of(position)) {
        return &slot->served;
    }
    if (word_get(&slot->pending) != mark_of(position)) {
        return NULL;
    }
    if (word_get(&slot->served)) {
        /* A writer was killed between publishing the one and dropping the
         * other. Readers of the other must see that its bytes go. */
        put_mark(cache, &slot->pending, 0);
        return NULL;
    }
    return &slot->pending;
}

/*
 * Pass the dead records at the tail; where the next one is alive, or the log
 * is empty, the tail stays. Where a stray write left no record, go on block by
 * block to the next: is_framed is not easily deceived.
 */
static void sweep(staple_cache_t *cache)
{
    header_t *header = cache->header;
    record_t record;

    while (used_bytes(cache)) {
        apr_uint64_t tail = word_get(&header->tail);
        apr_uint64_t bytes = record_at(cache, tail, &record);

        if (!bytes || bytes > used_bytes(cache)) {
            bytes = STAPLE_CACHE_BLOCK;
        }
        else if (pointer_to(cache, &record, tail)) {
            return;
        }
        position_put(&header->tail, tail + bytes);
    }
}

/* Positions that cannot be: begin with an empty log. */
static void start_over(staple_cache_t *cache)
{
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        put_mark(cache, &cache->slots[i].served, 0);
        put_mark(cache, &cache->slots[i].pending, 0);
    }
    position_put(&cache->header->head, cache->start);
    position_put(&cache->header->tail, cache->start);
    word_put(&cache->header->longest, 0);
}

/*
 * Step 3 for a writer that was killed after step 2: the record at the head is
 * one if its slot points there. No other can, for no position is used twice.
 */
static void catch_up(staple_cache_t *cache)
{
    apr_uint64_t head = word_get(&cache->header->head);
    record_t record;
    apr_uint64_t bytes = record_at(cache, head, &record);

    if (bytes && bytes <= free_bytes(cache)
        && pointer_to(cache, &record, head)) {
        position_put(&cache->header->head, head + bytes);
    }
}

/* What every writer of records begins with. */
static void prepare_write(staple_cache_t *cache)
{
    const header_t *header = cache->header;

    if (used_bytes(cache) > cache->data_size
        || word_get(&header->head) % STAPLE_CACHE_BLOCK
        || word_get(&header->tail) % STAPLE_CACHE_BLOCK
        || word_get(&header->longest) > cache->data_size) {
        start_over(cache);
    }
    catch_up(cache);
    sweep(cache);
}

/* Copy a record from the tail to the head; false: its sum is wrong. */
static int copy_to_head(staple_cache_t *cache, const record_t *record)
{
    apr_uint64_t from = block_at(cache, word_get(&cache->header->tail));
    apr_uint64_t to = block_at(cache, word_get(&cache->header->head));
    apr_size_t blocks = 1 + der_blocks(record->len);
    apr_size_t i;
    sum_t sum;

    room_freed();
    sum_begin(&sum, cache->slots[record->slot].id);
    for (i = 0; i < blocks; i++) {
        block_t block = block_get(block_words(cache, from));

        block_put(block_words(cache, to), &block);
        if (i == 0) {
            sum_first(&sum, block);
        }
        else {
            sum_block(&sum, &block);
        }
        from = next_block(cache, from);
        to = next_block(cache, to);
    }
    return sum_end(&sum) == record->sum;
}

/* Steps 2 to 4 for the record that lies beyond the head. */
static void publish(staple_cache_t *cache, word_t *mark, apr_uint64_t bytes)
{
    apr_uint64_t head = word_get(&cache->header->head);

    put_mark(cache, mark, mark_of(head));
    position_put(&cache->header->head, head + bytes);
    count_up(&cache->header->stored);
    sweep(cache);
}

/*
 * Move the record at the tail, which sweep left there because it is alive, to
 * the head. Where it is damaged, its slot lets go of it.
 */
static void move_tail(staple_cache_t *cache)
{
    apr_uint64_t tail = word_get(&cache->header->tail);
    record_t record;
    apr_uint64_t bytes = record_at(cache, tail, &record);
    word_t *mark = bytes ? pointer_to(cache, &record, tail) : NULL;

    if (mark && bytes <= free_bytes(cache) && copy_to_head(cache, &record)) {
        count_up(&cache->header->moved);
        publish(cache, mark, bytes);
        return;
    }
    if (mark) {
        put_mark(cache, mark, 0);
    }
    sweep(cache);
}

/* Which slot the record at the tail belongs to; the tail is not damaged. */
static apr_uint32_t tail_slot(const staple_cache_t *cache)
{
    record_t record;

    (void)record_at(cache, word_get(&cache->header->tail), &record);
    return record.slot;
}

/* Make room for `bytes` and the longest record beyond by moving what lives at
 * the tail, at most once around; then what is not free is alive. */
static int turn_until_free(staple_cache_t *cache, apr_uint64_t bytes)
{
    const header_t *header = cache->header;
    apr_uint64_t longest = word_get(&header->longest);
    apr_uint64_t once_around = word_get(&header->head);

    longest = longest > bytes ? longest : bytes;
    while (free_bytes(cache) < bytes + longest
           && (apr_int64_t)(word_get(&header->tail) - once_around) < 0) {
        move_tail(cache);
    }
    return free_bytes(cache) >= bytes + longest;
}

/* Turn the log until the record of this slot lies at the tail. */
static void turn_to(staple_cache_t *cache, const slot_t *slot)
{
    const header_t *header = cache->header;
    apr_uint32_t self = (apr_uint32_t)(slot - cache->slots);
    apr_uint64_t once_around = word_get(&header->head);

    while (used_bytes(cache) && tail_slot(cache) != self
           && (apr_int64_t)(word_get(&header->tail) - once_around) < 0) {
        move_tail(cache);
    }
}

/* The longest record that lives, besides that of one slot (which may be
 * NULL). */
static apr_uint64_t longest_live(const staple_cache_t *cache,
                                 const slot_t *besides)
{
    apr_uint64_t longest = 0;
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        const slot_t *slot = &cache->slots[i];
        apr_uint64_t bytes = slot == besides
                             ? 0 : staple_cache_live_bytes(cache, slot);

        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

/*
 * Make room for a record of `bytes`, so that afterwards, with the slot's old
 * record dead, the longest one can still be moved. Where that is tight, the
 * header's idea of the longest is brought up to date, the old record's own
 * bytes count too, and the tail goes on to where it lies, so that they are
 * free the moment it is replaced.
 */
static apr_status_t make_room(staple_cache_t *cache, const slot_t *slot,
                              apr_uint64_t bytes)
{
    apr_uint64_t longest, free_after;

    if (turn_until_free(cache, bytes)) {
        return APR_SUCCESS;
    }
    /* The old one included: it lives until the new one is published. */
    word_put(&cache->header->longest, longest_live(cache, NULL));
    longest = longest_live(cache, slot);
    longest = longest > bytes ? longest : bytes;
    free_after = free_bytes(cache) + staple_cache_live_bytes(cache, slot);
    if (free_bytes(cache) < bytes || free_after < bytes + longest) {
        return APR_ENOSPC;
    }
    turn_to(cache, slot);
    return APR_SUCCESS;
}

/* The DER bytes in block i of a response, padded with 0. */
static void pad_block(block_t *block, const unsigned char *der,
                      apr_size_t len, apr_size_t i)
{
    apr_size_t at = i * STAPLE_CACHE_BLOCK;
    apr_size_t left = len - at;

    if (left < STAPLE_CACHE_BLOCK) {
        memset(block, 0, STAPLE_CACHE_BLOCK);
        memcpy(block, der + at, left);
        return;
    }
    memcpy(block, der + at, STAPLE_CACHE_BLOCK);
}

static apr_uint64_t sum_record(const staple_cache_t *cache,
                               const record_t *record,
                               const unsigned char *der)
{
    apr_size_t blocks = der_blocks(record->len);
    block_t block;
    apr_size_t i;
    sum_t sum;

    sum_begin(&sum, cache->slots[record->slot].id);
    memcpy(&block, record, sizeof(block));
    sum_first(&sum, block);
    for (i = 0; i < blocks; i++) {
        pad_block(&block, der, record->len, i);
        sum_block(&sum, &block);
    }
    return sum_end(&sum);
}

/* Step 1: the record, beyond the head. */
static void write_record(staple_cache_t *cache, const record_t *record,
                         const unsigned char *der)
{
    apr_uint64_t at = block_at(cache, word_get(&cache->header->head));
    apr_size_t blocks = der_blocks(record->len);
    block_t block;
    apr_size_t i;

    room_freed();
    memcpy(&block, record, sizeof(block));
    block_put(block_words(cache, at), &block);
    for (i = 0; i < blocks; i++) {
        at = next_block(cache, at);
        pad_block(&block, der, record->len, i);
        block_put(block_words(cache, at), &block);
    }
}

static void init_record(record_t *record, const staple_cache_t *cache,
                        const slot_t *slot, const unsigned char *der,
                        apr_size_t len, const staple_cache_meta_t *meta)
{
    memset(record, 0, sizeof(*record));
    record->len = (apr_uint32_t)len;
    record->slot = (apr_uint32_t)(slot - cache->slots);
    memcpy(record->id, slot->id, sizeof(record->id));
    record->this_update = meta->this_update;
    record->next_update = meta->next_update;
    record->fetched_at = meta->fetched_at;
    record->status = meta->status;
    record->flags = meta->flags;
    record->sum = sum_record(cache, record, der);
}

apr_status_t staple_cache_append(staple_cache_t *cache, slot_t *slot,
                                 word_t *mark, const unsigned char *der,
                                 apr_size_t len,
                                 const staple_cache_meta_t *meta)
{
    apr_uint64_t bytes = record_bytes(len);
    record_t record;
    apr_status_t rv;

    prepare_write(cache);
    rv = make_room(cache, slot, bytes);
    if (rv != APR_SUCCESS) {
        put_wanted(cache, slot, (apr_uint32_t)bytes);
        count_up(&cache->header->refused);
        return rv;
    }
    init_record(&record, cache, slot, der, len, meta);
    write_record(cache, &record, der);
    if (bytes > word_get(&cache->header->longest)) {
        word_put(&cache->header->longest, bytes);
    }
    publish(cache, mark, bytes);
    return APR_SUCCESS;
}

/* ---- Responses. ---- */

apr_status_t staple_cache_store(staple_cache_t *cache, int slot,
                                const unsigned char *der, apr_size_t der_len,
                                const staple_cache_meta_t *meta)
{
    slot_t *s = slot_of(cache, slot);
    apr_status_t rv;

    if (!s || der_len == 0 || der_len > STAPLE_CACHE_DER_MAX) {
        return APR_EINVAL;
    }
    rv = staple_cache_append(cache, s, &s->served, der, der_len, meta);
    if (rv == APR_SUCCESS) {
        put_mark(cache, &s->pending, 0);
        put_wanted(cache, s, 0);
    }
    return rv;
}

apr_status_t staple_cache_forget(staple_cache_t *cache, int slot)
{
    slot_t *s = slot_of(cache, slot);

    if (!s) {
        return APR_EINVAL;
    }
    /* In this order: what was served must not come back as pending. */
    put_mark(cache, &s->pending, 0);
    put_mark(cache, &s->served, 0);
    return APR_SUCCESS;
}

apr_status_t staple_cache_confirm(staple_cache_t *cache, int slot, int is_true)
{
    slot_t *s = slot_of(cache, slot);

    if (!s) {
        return APR_EINVAL;
    }
    if (is_true && is_pending(s)) {
        put_mark(cache, &s->served, mark_take(&s->pending));
    }
    put_mark(cache, &s->pending, 0);
    return APR_SUCCESS;
}

/* ---- The state beside the slot. ---- */

static void state_put(word_t *to, const state_words_t from)
{
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        word_put(&to[i], from[i]);
    }
}

/* From the journal to the slot, whose seq is odd. */
static void finish_state(staple_cache_t *cache, slot_t *slot)
{
    const header_t *header = cache->header;
    state_words_t words;

    state_get(words, header->journal);
    state_freed();
    state_put(slot->state, words);
    word_put(&slot->state_sum, word_get(&header->journal_sum));
    seq_publish(slot, seq_take(slot) + 1);
    staple_cache_note_change(cache, slot);
}

/* Do what a writer that was killed had still to do with its journal. */
static void finish_journal(staple_cache_t *cache)
{
    apr_uint64_t slot = word_get(&cache->header->journal_slot);

    if (slot < cache->slots_count && seq_take(&cache->slots[slot]) % 2) {
        finish_state(cache, &cache->slots[slot]);
    }
}

void staple_cache_write_state(staple_cache_t *cache, slot_t *slot,
                              const staple_cache_state_t *state)
{
    header_t *header = cache->header;
    state_words_t words;

    memcpy(words, state, sizeof(words));
    state_freed();
    word_put(&header->journal_slot, (apr_uint64_t)(slot - cache->slots));
    word_put(&header->journal_sum, state_sum(slot, words));
    state_put(header->journal, words);
    seq_publish(slot, seq_take(slot) | 1);
    finish_state(cache, slot);
}

apr_status_t staple_cache_set_state(staple_cache_t *cache, int slot,
                                    const staple_cache_state_t *state)
{
    slot_t *s = slot_of(cache, slot);

    if (!s) {
        return APR_EINVAL;
    }
    finish_journal(cache);
    staple_cache_write_state(cache, s, state);
    return APR_SUCCESS;
}
