/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ring in shared memory: who may read and write which word, in which
 * order, and how a segment comes from and goes to a file. What a segment looks
 * like is in staple_cache_int.h, what callers may expect in staple_cache.h,
 * and the whole with drawings and a worked example in docs/ring.md. No OCSP,
 * no log, no httpd in here.
 *
 * The one idea: a slot is one word that says where the certificate's record
 * lies. A record never changes where it lies, and its bytes are not used again
 * before the word says something else. So a reader takes the word, copies the
 * record, and looks at the word again: if it is the same, the copy is whole.
 *
 * The writer, one at a time under the lock, appends at the head. To make room
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

#include <string.h>
#include <sys/mman.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "staple_cache_file.h"
#include "staple_cache_int.h"

/* A lock hidden in an atomic would be one that a killed writer keeps. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "the ring needs atomic words of 64 bits without locks");
_Static_assert(sizeof(staple_cache_word_t) == sizeof(apr_uint64_t),
               "an atomic word is a word");

/* The size from which mod_socache_shmcb, and so mod_ssl, says no. */
#define SIZE_LIMIT ((apr_size_t)64 * 1024 * 1024)

/* How often a reader begins anew because its record was replaced under its
 * hands. Each time a writer has stored a whole record meanwhile. */
#define READ_TRIES 64

/* Room beyond what is needed, as a part of the records: with a 64th of dead
 * records a store moves 64 others at most, in some microseconds. More would
 * cost memory for all and save time where nobody waits. */
#define SPARE_PART 64

typedef staple_cache_header_t header_t;
typedef staple_cache_slot_t slot_t;
typedef staple_cache_record_t record_t;
typedef staple_cache_word_t word_t;

/*
 * What is known of a segment is kept here, in private memory, once it has been
 * checked: a stray write to the header cannot lead anybody out of bounds.
 */
struct staple_cache_t {
    void *base;
    apr_size_t length;
    header_t *header;
    slot_t *slots;
    apr_uint32_t *buckets; /* slot + 1; 0: empty. Never changes */
    word_t *data;
    apr_uint32_t slots_count;
    apr_uint32_t buckets_count;
    apr_uint64_t data_size;
    apr_uint64_t blocks; /* in the data area */
    apr_uint64_t start;
    apr_global_mutex_t *lock;
};

/* ---- The atomics: every load and store of what may change meanwhile. ---- */

/*
 * A word of a record or a state. Atomic, so that a reader and a writer may
 * meet on it, and relaxed, because what is copied counts only after the
 * word that names it was looked at again.
 */
static inline apr_uint64_t word_get(const word_t *word)
{
    return atomic_load_explicit((word_t *)word, memory_order_relaxed);
}

static inline void word_put(word_t *word, apr_uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/*
 * Take a slot's mark. The acquire pairs with the release in mark_publish:
 * without it the words of the record could be those from before it was
 * written.
 */
static inline apr_uint64_t mark_take(const word_t *mark)
{
    return atomic_load_explicit((word_t *)mark, memory_order_acquire);
}

/*
 * Make a slot point at a record, or (0) at none. Pairs with mark_take; the
 * same release also keeps the stores of head, mark and tail in this order for
 * the next writer, should this one be killed.
 */
static inline void mark_publish(word_t *mark, apr_uint64_t value)
{
    atomic_store_explicit(mark, value, memory_order_release);
}

/*
 * Was the copy made while the mark stood? The acquire fence pairs with the
 * release fence in room_freed: if any word that was copied is a later
 * writer's, the mark seen here is already another. Without it a processor may
 * look at the mark first and copy after.
 */
static inline int mark_still(const word_t *mark, apr_uint64_t value)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit((word_t *)mark, memory_order_relaxed) == value;
}

/*
 * Between marks that no longer point at some bytes and the first store to
 * those bytes. Pairs with mark_still.
 */
static inline void room_freed(void)
{
    atomic_thread_fence(memory_order_release);
}

/* A position under the lock; the release is for the next writer, see
 * mark_publish. */
static inline void position_put(word_t *position, apr_uint64_t value)
{
    atomic_store_explicit(position, value, memory_order_release);
}

/*
 * The number of a state: odd while the journal has it. Acquire and release
 * pair with each other: whoever sees it odd sees the journal whole, whoever
 * sees it even sees the slot's words whole.
 */
static inline apr_uint32_t seq_take(const slot_t *slot)
{
    return atomic_load_explicit((_Atomic apr_uint32_t *)&slot->seq,
                                memory_order_acquire);
}

static inline void seq_publish(slot_t *slot, apr_uint32_t seq)
{
    atomic_store_explicit(&slot->seq, seq, memory_order_release);
}

/* As mark_still; pairs with state_freed. */
static inline int seq_still(const slot_t *slot, apr_uint32_t seq)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit((_Atomic apr_uint32_t *)&slot->seq,
                                memory_order_relaxed) == seq;
}

/* Between the seq that sends readers elsewhere and the first store to the
 * words they have left. Pairs with seq_still. */
static inline void state_freed(void)
{
    atomic_thread_fence(memory_order_release);
}

/*
 * A sum that any process adds to and nothing else is read after: relaxed.
 */
static inline void count_add(word_t *counter, apr_uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/*
 * A request in its place, and out of it. Nothing else is read after it, but
 * what was done before it was put (a response that was dropped) is to be seen
 * by who takes it: release and acquire pair with each other.
 */
static inline int request_put(word_t *place, apr_uint64_t request)
{
    apr_uint64_t is_free = 0;

    return atomic_compare_exchange_strong_explicit(place, &is_free, request,
                                                   memory_order_release,
                                                   memory_order_relaxed);
}

static inline apr_uint64_t request_take(word_t *place)
{
    return atomic_exchange_explicit(place, 0, memory_order_acquire);
}

static inline void count_up(word_t *counter)
{
    word_put(counter, word_get(counter) + 1);
}

/* ---- Checksums and copies: both in one pass over whole blocks. ---- */

/* Two words in one register. */
typedef apr_uint64_t pair_t __attribute__((vector_size(16)));

#define BLOCK_PAIRS (STAPLE_CACHE_BLOCK_WORDS / 2)
#define ID_WORDS (STAPLE_CACHE_ID_LEN / (int)sizeof(apr_uint64_t))

typedef struct block_t {
    pair_t pair[BLOCK_PAIRS];
} block_t;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif

/*
 * word_get for two words. No compiler merges two atomic loads, though the
 * processor could do both at once and it is half of what a look-up costs; so
 * on x86-64 they are written as the one instruction. It keeps each aligned
 * word whole and loads in order, and more than word_get is not promised.
 */
static inline pair_t pair_get(const word_t *from)
{
#if defined(__x86_64__) && !defined(UNDER_TSAN)
    pair_t pair;

    __asm__ volatile("movdqa %1, %0"
                     : "=x"(pair) : "m"(*(const pair_t *)from));
    return pair;
#else
    return (pair_t){ word_get(from), word_get(from + 1) };
#endif
}

static inline block_t block_get(const word_t *from)
{
    block_t block;

    block.pair[0] = pair_get(from);
    block.pair[1] = pair_get(from + 2);
    block.pair[2] = pair_get(from + 4);
    block.pair[3] = pair_get(from + 6);
    return block;
}

/* To private memory, without a detour through the stack. */
static inline void block_copy(unsigned char *to, const block_t *block)
{
    memcpy(to, &block->pair[0], sizeof(pair_t));
    memcpy(to + sizeof(pair_t), &block->pair[1], sizeof(pair_t));
    memcpy(to + 2 * sizeof(pair_t), &block->pair[2], sizeof(pair_t));
    memcpy(to + 3 * sizeof(pair_t), &block->pair[3], sizeof(pair_t));
}

static inline void block_put(word_t *to, const block_t *block)
{
    unsigned int i;

    for (i = 0; i < BLOCK_PAIRS; i++) {
        word_put(&to[2 * i], block->pair[i][0]);
        word_put(&to[2 * i + 1], block->pair[i][1]);
    }
}

/*
 * Eight lanes, one for each word of a block. Each has the sum of its words
 * and the sum of these sums, so that a changed word shows, and so do words
 * that changed places. This finds accidents; it is no signature, and need not
 * be: every response was verified before it was stored.
 */
typedef struct sum_t {
    block_t once;
    block_t twice;
} sum_t;

/* The lanes begin with the id, so a record fits no other certificate. */
static inline void sum_begin(sum_t *sum,
                             const unsigned char id[STAPLE_CACHE_ID_LEN])
{
    const pair_t one = { 0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu };
    const pair_t two = { 0x165667B19E3779F9u, 0x27D4EB2F165667C5u };

    memcpy(&sum->once.pair[0], id, sizeof(pair_t));
    memcpy(&sum->once.pair[1], id + sizeof(pair_t), sizeof(pair_t));
    sum->once.pair[2] = one;
    sum->once.pair[3] = two;
    sum->twice.pair[0] = two;
    sum->twice.pair[1] = one;
    sum->twice.pair[2] = one;
    sum->twice.pair[3] = two;
}

static inline void sum_block(sum_t *sum, const block_t *block)
{
    sum->once.pair[0] += block->pair[0];
    sum->once.pair[1] += block->pair[1];
    sum->once.pair[2] += block->pair[2];
    sum->once.pair[3] += block->pair[3];
    sum->twice.pair[0] += sum->once.pair[0];
    sum->twice.pair[1] += sum->once.pair[1];
    sum->twice.pair[2] += sum->once.pair[2];
    sum->twice.pair[3] += sum->once.pair[3];
}

static inline apr_uint64_t scramble(apr_uint64_t word, apr_uint64_t factor)
{
    return (word ^ (word >> 29)) * factor;
}

/*
 * A change of one word by d changes `once` by d and `twice` by a multiple of
 * d, so after the shift the lowest bit of d still shows. Top bits of two words
 * would cancel in a mere sum of lanes; hence a factor for each lane, odd and
 * its own.
 */
static inline apr_uint64_t end_pair(pair_t once, pair_t twice,
                                    apr_uint64_t factor)
{
    pair_t both = once ^ (twice << 1);

    return scramble(both[0], factor)
           + scramble(both[1], factor ^ 0x5A5A5A5A5A5A5A5Au);
}

static inline apr_uint64_t sum_end(const sum_t *sum)
{
    const pair_t *once = sum->once.pair, *twice = sum->twice.pair;
    apr_uint64_t all = end_pair(once[0], twice[0], 0x9FB21C651E98DF25u)
                       + end_pair(once[1], twice[1], 0xD6E8FEB86659FD93u)
                       + end_pair(once[2], twice[2], 0xA0761D6478BD642Fu)
                       + end_pair(once[3], twice[3], 0xE7037ED1A0B428DBu);

    return all ^ (all >> 32);
}

/* The first block of a record, in which the word of the sum counts as 0. */
static inline void sum_first(sum_t *sum, block_t block)
{
    block.pair[0][0] = 0;
    sum_block(sum, &block);
}

apr_uint64_t staple_cache_sum(const unsigned char id[STAPLE_CACHE_ID_LEN],
                              const void *words, apr_size_t blocks)
{
    const unsigned char *from = words;
    block_t block;
    apr_size_t i;
    sum_t sum;

    sum_begin(&sum, id);
    memcpy(&block, from, sizeof(block));
    sum_first(&sum, block);
    for (i = 1; i < blocks; i++) {
        memcpy(&block, from + i * STAPLE_CACHE_BLOCK, sizeof(block));
        sum_block(&sum, &block);
    }
    return sum_end(&sum);
}

/* A hash of an id, which need not be one already. */
static inline apr_uint64_t hash_id(const unsigned char id[STAPLE_CACHE_ID_LEN])
{
    apr_uint64_t word[ID_WORDS];

    memcpy(word, id, sizeof(word));
    return scramble(word[0] ^ 0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u)
           ^ scramble(word[1] + word[2] * 3 + word[3] * 5, 0x9FB21C651E98DF25u);
}

/* memcmp, but without a call. */
static inline int same_id(const unsigned char *a, const unsigned char *b)
{
    apr_uint64_t x[ID_WORDS], y[ID_WORDS];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]))
           == 0;
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

/* ---- Geometry. ---- */

static apr_size_t der_blocks(apr_size_t len)
{
    return (len + STAPLE_CACHE_BLOCK - 1) / STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_record_bytes(apr_size_t der_len)
{
    return sizeof(record_t) + der_blocks(der_len) * STAPLE_CACHE_BLOCK;
}

static apr_uint64_t data_offset(apr_uint64_t slots)
{
    apr_uint64_t end = sizeof(header_t)
                       + slots * (sizeof(slot_t) + 2 * sizeof(apr_uint32_t));

    return (end + STAPLE_CACHE_BLOCK - 1)
           / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_need(apr_size_t n, apr_uint64_t records,
                               apr_uint64_t longest)
{
    apr_uint64_t spare = records / SPARE_PART
                         / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;

    return data_offset(n) + records + spare + longest;
}

apr_size_t staple_cache_size_for(apr_size_t certificates)
{
    apr_uint64_t record = staple_cache_record_bytes(STAPLE_CACHE_TYPICAL);

    return (apr_size_t)staple_cache_need(certificates, certificates * record,
                                         certificates ? record : 0);
}

/* Fill in what follows from the number of slots and the size. */
static void lay_out(header_t *header, apr_uint32_t slots, apr_uint64_t size)
{
    memcpy(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic));
    header->version = STAPLE_CACHE_VERSION;
    header->byte_order = STAPLE_CACHE_BYTE_ORDER;
    header->header_size = sizeof(header_t);
    header->slot_size = sizeof(slot_t);
    header->record_size = sizeof(record_t);
    header->id_len = STAPLE_CACHE_ID_LEN;
    header->segment_size = size;
    header->slots = slots;
    header->buckets = 2 * slots;
    header->slots_offset = sizeof(header_t);
    header->buckets_offset = sizeof(header_t) + slots * sizeof(slot_t);
    header->data_offset = data_offset(slots);
    header->data_size = (size - header->data_offset)
                        / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_header_sum(const header_t *header)
{
    static const unsigned char no_id[STAPLE_CACHE_ID_LEN];
    unsigned char fixed[2 * STAPLE_CACHE_BLOCK];

    memcpy(fixed, header, sizeof(fixed));
    memset(fixed + offsetof(header_t, sum), 0, sizeof(header->sum));
    return staple_cache_sum(no_id, fixed, 2) ^ header->version;
}

const char *staple_cache_check_header(const header_t *header,
                                      apr_uint64_t length)
{
    const apr_size_t fixed = offsetof(header_t, generation);
    header_t should;

    if (length < sizeof(header->magic)
        || memcmp(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic))) {
        return "is not a ring";
    }
    if (length < sizeof(*header)) {
        return "is truncated";
    }
    if (header->byte_order != STAPLE_CACHE_BYTE_ORDER) {
        return "has a damaged header, or is from a machine of another byte "
               "order";
    }
    if (header->version != STAPLE_CACHE_VERSION) {
        return "was written by another version of the module";
    }
    if (header->sum != staple_cache_header_sum(header)) {
        return "has a damaged header";
    }
    if (length != header->segment_size) {
        return length < header->segment_size ? "is truncated"
                                             : "is longer than it should be";
    }
    if (header->slots > length / sizeof(slot_t)
        || data_offset(header->slots) + STAPLE_CACHE_BLOCK > length
        || header->start % STAPLE_CACHE_BLOCK) {
        return "has an impossible header";
    }
    memset(&should, 0, sizeof(should));
    lay_out(&should, header->slots, length);
    should.start = header->start;
    return memcmp(header, &should, fixed) ? "has an impossible header" : NULL;
}

/* From here on the header's layout is not looked at again. */
static void bind_segment(staple_cache_t *cache, void *base, apr_size_t length)
{
    char *bytes = base;
    header_t *header = base;

    cache->base = base;
    cache->length = length;
    cache->header = header;
    cache->slots = (slot_t *)(bytes + header->slots_offset);
    cache->buckets = (apr_uint32_t *)(bytes + header->buckets_offset);
    cache->data = (word_t *)(bytes + header->data_offset);
    cache->slots_count = header->slots;
    cache->buckets_count = header->buckets;
    cache->data_size = header->data_size;
    cache->blocks = header->data_size / STAPLE_CACHE_BLOCK;
    cache->start = header->start;
}

static inline slot_t *slot_of(const staple_cache_t *cache, int slot)
{
    return slot >= 0 && (apr_uint32_t)slot < cache->slots_count
           ? &cache->slots[slot] : NULL;
}

/* The number of the block at which a position lies. */
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

/* Whether a mark, which a stray write may have made, can be one. */
static inline int is_mark(apr_uint64_t mark)
{
    return mark % STAPLE_CACHE_BLOCK == 1;
}

/*
 * Whether what lies there can be the beginning of a record of this segment.
 * The id makes that a check of 128 bits, besides the lengths.
 */
static inline int is_framed(const staple_cache_t *cache, const record_t *record)
{
    return record->len > 0 && record->len <= STAPLE_CACHE_DER_MAX
           && record->slot < cache->slots_count
           && staple_cache_record_bytes(record->len) <= cache->data_size
           && !memcmp(record->id, cache->slots[record->slot].id,
                      STAPLE_CACHE_ID_MARK);
}

/* ---- Readers. ---- */

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

static apr_status_t read_marked(const staple_cache_t *cache, int slot,
                                const word_t *word, unsigned char *buf,
                                apr_size_t size, apr_size_t *len,
                                staple_cache_meta_t *meta)
{
    record_t record;
    apr_status_t rv;
    int tries;

    for (tries = 0; tries < READ_TRIES; tries++) {
        apr_uint64_t mark = mark_take(word);

        if (!mark) {
            break;
        }
        rv = copy_record(cache, slot, mark, buf, size, &record);
        if (!mark_still(word, mark)) {
            continue;
        }
        if (rv == APR_NOTFOUND) {
            break;
        }
        *len = record.len;
        if (meta) {
            meta->this_update = record.this_update;
            meta->next_update = record.next_update;
            meta->fetched_at = record.fetched_at;
            meta->status = record.status;
            meta->flags = record.flags;
        }
        return rv;
    }
    *len = 0;
    return APR_NOTFOUND;
}

apr_status_t staple_cache_read(const staple_cache_t *cache, int slot,
                               unsigned char *buf, apr_size_t size,
                               apr_size_t *len, staple_cache_meta_t *meta)
{
    const slot_t *s = slot_of(cache, slot);

    if (!s) {
        *len = 0;
        return APR_NOTFOUND;
    }
    return read_marked(cache, slot, &s->served, buf, size, len, meta);
}

static int is_pending(const slot_t *slot)
{
    return mark_take(&slot->pending) && !mark_take(&slot->served);
}

apr_status_t staple_cache_read_pending(const staple_cache_t *cache, int slot,
                                       unsigned char *buf, apr_size_t size,
                                       apr_size_t *len,
                                       staple_cache_meta_t *meta)
{
    const slot_t *s = slot_of(cache, slot);

    if (!s || !is_pending(s)) {
        *len = 0;
        return APR_NOTFOUND;
    }
    return read_marked(cache, slot, &s->pending, buf, size, len, meta);
}

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
const char *staple_cache_name(const staple_cache_t *cache, int slot)
{
    const slot_t *s = slot_of(cache, slot);

    return s && !s->name[STAPLE_CACHE_NAME_LEN - 1] ? s->name : "";
}

/* Where the search for an id begins: its hash, scaled to the table. */
static apr_uint32_t first_bucket(const unsigned char *id, apr_uint32_t buckets)
{
    return (apr_uint32_t)(((hash_id(id) >> 32) * buckets) >> 32);
}

int staple_cache_find(const staple_cache_t *cache,
                      const unsigned char id[STAPLE_CACHE_ID_LEN])
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

/* ---- The lock. ---- */

/*
 * Where the owner was killed, APR's robust pthread mutex and the mutexes that
 * the kernel gives back are simply acquired; nothing need be repaired for it.
 */
static apr_status_t writer_enter(staple_cache_t *cache)
{
    return cache->lock ? apr_global_mutex_lock(cache->lock) : APR_SUCCESS;
}

static apr_status_t writer_leave(staple_cache_t *cache)
{
    return cache->lock ? apr_global_mutex_unlock(cache->lock) : APR_SUCCESS;
}

void staple_cache_set_lock(staple_cache_t *cache, apr_global_mutex_t *lock)
{
    cache->lock = lock;
}

/* ---- The writer: under the lock from here on. ---- */

static apr_uint64_t used_bytes(const staple_cache_t *cache)
{
    return word_get(&cache->header->head) - word_get(&cache->header->tail);
}

static apr_uint64_t free_bytes(const staple_cache_t *cache)
{
    return cache->data_size - used_bytes(cache);
}

/* The first block of the record at a position; bytes, or 0: not a record. */
static apr_uint64_t look_at(const staple_cache_t *cache, apr_uint64_t position,
                            record_t *record)
{
    block_t block = block_get(block_words(cache, block_at(cache, position)));

    memcpy(record, &block, sizeof(*record));
    return is_framed(cache, record) ? staple_cache_record_bytes(record->len)
                                    : 0;
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
        mark_publish(&slot->pending, 0);
        return NULL;
    }
    return &slot->pending;
}

/* Bytes of the record that a slot points at; 0: none, or not a record. */
static apr_uint64_t live_bytes(const staple_cache_t *cache, const slot_t *slot)
{
    apr_uint64_t mark = mark_take(&slot->served);
    apr_uint64_t bytes;
    record_t record;

    mark = mark ? mark : mark_take(&slot->pending);
    if (!is_mark(mark)
        || marked(mark) - word_get(&cache->header->tail) >= used_bytes(cache)) {
        return 0;
    }
    bytes = look_at(cache, marked(mark), &record);
    return bytes && &cache->slots[record.slot] == slot ? bytes : 0;
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
        apr_uint64_t bytes = look_at(cache, tail, &record);

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
        mark_publish(&cache->slots[i].served, 0);
        mark_publish(&cache->slots[i].pending, 0);
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
    apr_uint64_t bytes = look_at(cache, head, &record);

    if (bytes && bytes <= free_bytes(cache)
        && pointer_to(cache, &record, head)) {
        position_put(&cache->header->head, head + bytes);
    }
}

/* What every writer of records begins with. */
static void settle(staple_cache_t *cache)
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

    mark_publish(mark, mark_of(head));
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
    apr_uint64_t bytes = look_at(cache, tail, &record);
    word_t *mark = bytes ? pointer_to(cache, &record, tail) : NULL;

    if (mark && bytes <= free_bytes(cache) && copy_to_head(cache, &record)) {
        count_up(&cache->header->moved);
        publish(cache, mark, bytes);
        return;
    }
    if (mark) {
        mark_publish(mark, 0);
    }
    sweep(cache);
}

/* Which slot the record at the tail belongs to; the tail is not damaged. */
static apr_uint32_t tail_slot(const staple_cache_t *cache)
{
    record_t record;

    (void)look_at(cache, word_get(&cache->header->tail), &record);
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
        apr_uint64_t bytes = &cache->slots[i] == besides
                             ? 0 : live_bytes(cache, &cache->slots[i]);

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
    free_after = free_bytes(cache) + live_bytes(cache, slot);
    if (free_bytes(cache) < bytes || free_after < bytes + longest) {
        return APR_ENOSPC;
    }
    turn_to(cache, slot);
    return APR_SUCCESS;
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

/* Append a record and let one of its slot's marks point at it. */
static apr_status_t append(staple_cache_t *cache, slot_t *slot, word_t *mark,
                           const unsigned char *der, apr_size_t len,
                           const staple_cache_meta_t *meta)
{
    apr_uint64_t bytes = staple_cache_record_bytes(len);
    record_t record;
    apr_status_t rv;

    settle(cache);
    rv = make_room(cache, slot, bytes);
    if (rv != APR_SUCCESS) {
        atomic_store_explicit(&slot->wanted, (apr_uint32_t)bytes,
                              memory_order_relaxed);
        count_up(&cache->header->refused);
        return rv;
    }
    memset(&record, 0, sizeof(record));
    record.len = (apr_uint32_t)len;
    record.slot = (apr_uint32_t)(slot - cache->slots);
    memcpy(record.id, slot->id, sizeof(record.id));
    record.this_update = meta->this_update;
    record.next_update = meta->next_update;
    record.fetched_at = meta->fetched_at;
    record.status = meta->status;
    record.flags = meta->flags;
    record.sum = sum_record(cache, &record, der);
    write_record(cache, &record, der);
    if (bytes > word_get(&cache->header->longest)) {
        word_put(&cache->header->longest, bytes);
    }
    publish(cache, mark, bytes);
    return APR_SUCCESS;
}

apr_status_t staple_cache_store(staple_cache_t *cache, int slot,
                                const unsigned char *der, apr_size_t der_len,
                                const staple_cache_meta_t *meta)
{
    slot_t *s = slot_of(cache, slot);
    apr_status_t rv;

    if (!s || der_len == 0 || der_len > STAPLE_CACHE_DER_MAX) {
        return APR_EINVAL;
    }
    rv = writer_enter(cache);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = append(cache, s, &s->served, der, der_len, meta);
    if (rv == APR_SUCCESS) {
        mark_publish(&s->pending, 0);
        atomic_store_explicit(&s->wanted, 0, memory_order_relaxed);
    }
    writer_leave(cache);
    return rv;
}

apr_status_t staple_cache_forget(staple_cache_t *cache, int slot)
{
    slot_t *s = slot_of(cache, slot);
    apr_status_t rv;

    if (!s) {
        return APR_EINVAL;
    }
    rv = writer_enter(cache);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* In this order: what was served must not come back as pending. */
    mark_publish(&s->pending, 0);
    mark_publish(&s->served, 0);
    return writer_leave(cache);
}

apr_status_t staple_cache_confirm(staple_cache_t *cache, int slot, int is_true)
{
    slot_t *s = slot_of(cache, slot);
    apr_status_t rv;

    if (!s) {
        return APR_EINVAL;
    }
    rv = writer_enter(cache);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (is_true && is_pending(s)) {
        mark_publish(&s->served, mark_take(&s->pending));
    }
    mark_publish(&s->pending, 0);
    return writer_leave(cache);
}

int staple_cache_claim_pending(staple_cache_t *cache)
{
    word_t *claim = &cache->header->claim;

    while (word_get(claim) < cache->slots_count) {
        apr_uint64_t slot = atomic_fetch_add_explicit(claim, 1,
                                                      memory_order_relaxed);

        if (slot < cache->slots_count && is_pending(&cache->slots[slot])) {
            return (int)slot;
        }
    }
    return -1;
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

/* ---- The state beside the slot. ---- */

typedef apr_uint64_t state_words_t[STAPLE_CACHE_STATE_WORDS];

static apr_uint64_t state_sum(const slot_t *slot, const state_words_t words)
{
    apr_uint64_t sum = hash_id(slot->id);
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        sum = scramble(sum + words[i], 0x9FB21C651E98DF25u);
    }
    return sum;
}

static void state_get(state_words_t to, const word_t *from)
{
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        to[i] = word_get(&from[i]);
    }
}

static void state_put(word_t *to, const state_words_t from)
{
    unsigned int i;

    for (i = 0; i < STAPLE_CACHE_STATE_WORDS; i++) {
        word_put(&to[i], from[i]);
    }
}

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
}

/* Do what a writer that was killed had still to do with its journal. */
static void finish_journal(staple_cache_t *cache)
{
    apr_uint64_t slot = word_get(&cache->header->journal_slot);

    if (slot < cache->slots_count && seq_take(&cache->slots[slot]) % 2) {
        finish_state(cache, &cache->slots[slot]);
    }
}

static void write_state(staple_cache_t *cache, slot_t *slot,
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
    apr_status_t rv;

    if (!s) {
        return APR_EINVAL;
    }
    rv = writer_enter(cache);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    finish_journal(cache);
    write_state(cache, s, state);
    return writer_leave(cache);
}

/* ---- Counts and requests: other processes' words. ---- */

void staple_cache_count_served(staple_cache_t *cache, int slot,
                               const staple_cache_served_t *more)
{
    slot_t *s = slot_of(cache, slot);

    if (s && more->served) {
        count_add(&s->served_count, more->served);
    }
    if (s && more->missed) {
        count_add(&s->missed_count, more->missed);
    }
}

void staple_cache_served(const staple_cache_t *cache, int slot,
                         staple_cache_served_t *sum)
{
    const slot_t *s = slot_of(cache, slot);

    sum->served = s ? word_get(&s->served_count) : 0;
    sum->missed = s ? word_get(&s->missed_count) : 0;
}

void staple_cache_count_share(staple_cache_t *cache,
                              const staple_cache_share_t *more)
{
    header_t *header = cache->header;

    count_add(&header->share_hits, more->hits);
    count_add(&header->share_misses, more->misses);
    count_add(&header->share_odd, more->odd);
    count_add(&header->share_stored, more->stored);
    count_add(&header->share_dropped, more->dropped);
    count_add(&header->share_unanswered, more->unanswered);
    count_add(&header->share_errors, more->errors);
    if (more->last_error) {
        word_put(&header->share_last_error, (apr_uint64_t)more->last_error);
        word_put(&header->share_last_status,
                 (apr_uint64_t)more->last_status);
    }
    word_put(&header->share_since, (apr_uint64_t)more->since << 1
                                   | (more->is_silent ? 1 : 0));
}

void staple_cache_share(const staple_cache_t *cache, staple_cache_share_t *sum)
{
    const header_t *header = cache->header;
    apr_uint64_t since = word_get(&header->share_since);

    sum->hits = word_get(&header->share_hits);
    sum->misses = word_get(&header->share_misses);
    sum->odd = word_get(&header->share_odd);
    sum->stored = word_get(&header->share_stored);
    sum->dropped = word_get(&header->share_dropped);
    sum->unanswered = word_get(&header->share_unanswered);
    sum->errors = word_get(&header->share_errors);
    sum->last_error = (apr_time_t)word_get(&header->share_last_error);
    sum->last_status = (apr_status_t)word_get(&header->share_last_status);
    sum->is_silent = (int)(since & 1);
    sum->since = (apr_time_t)(since >> 1);
}

apr_status_t staple_cache_request(staple_cache_t *cache, int slot,
                                  apr_uint32_t what)
{
    int i;

    if (!slot_of(cache, slot)) {
        return APR_EINVAL;
    }
    for (i = 0; i < STAPLE_CACHE_REQUESTS; i++) {
        if (request_put(&cache->header->requests[i],
                        (apr_uint64_t)slot << 32 | what)) {
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

apr_uint32_t staple_cache_take_request(staple_cache_t *cache, int *slot)
{
    int i;

    for (i = 0; i < STAPLE_CACHE_REQUESTS; i++) {
        word_t *place = &cache->header->requests[i];
        apr_uint64_t request = word_get(place) ? request_take(place) : 0;

        *slot = (int)(request >> 32);
        if (request && slot_of(cache, *slot)) {
            return (apr_uint32_t)request;
        }
    }
    return 0;
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
        apr_uint64_t bytes = live_bytes(cache, &cache->slots[i]);

        usage->live += (apr_size_t)bytes;
        usage->records += bytes ? 1 : 0;
    }
}

/* ---- Mappings. ---- */

static void *map_memory(apr_size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

apr_status_t staple_cache_attach(staple_cache_t **cache, void *base,
                                 apr_size_t length, apr_pool_t *p)
{
    *cache = NULL;
    if (!base || (apr_uintptr_t)base % STAPLE_CACHE_BLOCK
        || staple_cache_check_header(base, length)) {
        return APR_EINVAL;
    }
    *cache = apr_pcalloc(p, sizeof(**cache));
    bind_segment(*cache, base, length);
    return APR_SUCCESS;
}

void staple_cache_mapping(const staple_cache_t *cache, void **base,
                          apr_size_t *length)
{
    *base = cache->base;
    *length = cache->length;
}

void staple_cache_unmap(staple_cache_t *cache)
{
    if (cache->base) {
        munmap(cache->base, cache->length);
        cache->base = NULL;
    }
}

/* ---- Files. ---- */

apr_status_t staple_cache_open_file(staple_cache_t **cache, const char *path,
                                    const char **reason, apr_pool_t *p)
{
    staple_cache_found_t found = staple_cache_file_find(path, 1, p);

    *cache = NULL;
    *reason = found.why;
    switch (found.what) {
    case STAPLE_CACHE_FOUND_RING:
        return staple_cache_attach(cache, found.base, found.size, p);
    case STAPLE_CACHE_FOUND_NOTHING:
        return APR_ENOENT;
    default:
        return APR_EGENERAL;
    }
}

/* ---- A new generation. ---- */

/* What the new generation takes over for one certificate. */
typedef struct heir_t {
    unsigned char *der; /* NULL: no response */
    apr_size_t len;
    staple_cache_meta_t meta;
    staple_cache_state_t state;
    staple_cache_served_t served;
    apr_uint64_t bytes; /* of the record to make room for */
    int is_pending;
} heir_t;

/* Copy everything out first: the source may change under our hands, and the
 * new segment's size depends on what there is. */
static void inherit(heir_t *heir, const staple_cache_t *from, int slot,
                    unsigned char *buf, apr_pool_t *ptemp)
{
    apr_uint32_t wanted = atomic_load_explicit(&from->slots[slot].wanted,
                                               memory_order_relaxed);
    apr_status_t rv;

    staple_cache_state(from, slot, &heir->state);
    staple_cache_served(from, slot, &heir->served);
    rv = staple_cache_read(from, slot, buf, STAPLE_CACHE_DER_MAX, &heir->len,
                           &heir->meta);
    if (rv != APR_SUCCESS) {
        rv = staple_cache_read_pending(from, slot, buf, STAPLE_CACHE_DER_MAX,
                                       &heir->len, &heir->meta);
        heir->is_pending = 1;
    }
    if (rv == APR_SUCCESS) {
        heir->der = apr_pmemdup(ptemp, buf, heir->len);
        heir->bytes = staple_cache_record_bytes(heir->len);
    }
    if (wanted <= staple_cache_record_bytes(STAPLE_CACHE_DER_MAX)
        && wanted > heir->bytes) {
        heir->bytes = wanted;
    }
}

static heir_t *inherit_all(const staple_cache_conf_t *conf,
                           const staple_cache_t *from, apr_pool_t *ptemp)
{
    heir_t *heirs = apr_pcalloc(ptemp, (conf->ids_count + 1) * sizeof(*heirs));
    unsigned char *buf = apr_palloc(ptemp, STAPLE_CACHE_DER_MAX);
    apr_size_t i;

    for (i = 0; i < conf->ids_count; i++) {
        int slot = from ? staple_cache_find(from, conf->ids[i]) : -1;

        if (slot >= 0) {
            inherit(&heirs[i], from, slot, buf, ptemp);
        }
        if (!heirs[i].bytes) {
            heirs[i].bytes = staple_cache_record_bytes(STAPLE_CACHE_TYPICAL);
        }
    }
    return heirs;
}

/* How many of the certificates, in their order, fit which size. */
static apr_size_t plan(const staple_cache_conf_t *conf, const heir_t *heirs,
                       staple_cache_report_t *report)
{
    apr_uint64_t records = 0, longest = 0, need;
    apr_size_t size = conf->size, fit = 0, i;

    size = size < STAPLE_CACHE_SIZE_MIN ? STAPLE_CACHE_SIZE_MIN : size;
    need = staple_cache_need(0, 0, 0);
    for (i = 0; i < conf->ids_count; i++) {
        records += heirs[i].bytes;
        longest = heirs[i].bytes > longest ? heirs[i].bytes : longest;
        need = staple_cache_need(i + 1, records, longest);
        if (need <= size) {
            fit = i + 1;
        }
    }
    report->size_wanted = (apr_size_t)need;
    report->size_granted = size;
    if (conf->may_grow && need > size) {
        report->size_granted = (apr_size_t)need;
    }
    if (report->size_granted >= need) {
        fit = conf->ids_count;
    }
    report->left_out = conf->ids_count - fit;
    return fit;
}

static void enter_bucket(staple_cache_t *cache, apr_uint32_t slot)
{
    apr_uint32_t bucket = first_bucket(cache->slots[slot].id,
                                       cache->buckets_count);

    while (cache->buckets[bucket]) {
        bucket = bucket + 1 == cache->buckets_count ? 0 : bucket + 1;
    }
    cache->buckets[bucket] = slot + 1;
}

/* Of a name that is too long the end is kept: it says whose the host is. */
static void write_name(slot_t *slot, const char *name)
{
    apr_size_t len = strlen(name);

    if (len < sizeof(slot->name)) {
        memcpy(slot->name, name, len);
        return;
    }
    apr_cpystrn(slot->name, STAPLE_CACHE_NAME_CUT, sizeof(slot->name));
    len -= sizeof(slot->name) - sizeof(STAPLE_CACHE_NAME_CUT);
    apr_cpystrn(slot->name + sizeof(STAPLE_CACHE_NAME_CUT) - 1, name + len,
                sizeof(slot->name));
}

/* An empty segment with its slots, in memory that is all 0. */
static void format(staple_cache_t *cache, void *base, apr_size_t size,
                   const staple_cache_conf_t *conf, apr_uint32_t slots,
                   apr_uint64_t start, apr_uint64_t generation)
{
    static const state_words_t no_state;
    header_t *header = base;
    apr_uint32_t i;

    lay_out(header, slots, size);
    header->start = start;
    header->generation = generation;
    header->created = apr_time_now();
    header->sum = staple_cache_header_sum(header);
    bind_segment(cache, base, size);
    position_put(&header->head, start);
    position_put(&header->tail, start);
    for (i = 0; i < slots; i++) {
        slot_t *slot = &cache->slots[i];

        memcpy(slot->id, conf->ids[i], STAPLE_CACHE_ID_LEN);
        if (conf->names) {
            write_name(slot, conf->names[i]);
        }
        word_put(&slot->state_sum, state_sum(slot, no_state));
        enter_bucket(cache, i);
    }
}

static apr_size_t seed(staple_cache_t *cache, const heir_t *heirs,
                       int from_file)
{
    apr_size_t seeded = 0;
    apr_uint32_t i;

    for (i = 0; i < cache->slots_count; i++) {
        const heir_t *heir = &heirs[i];
        slot_t *slot = &cache->slots[i];

        write_state(cache, slot, &heir->state);
        staple_cache_count_served(cache, (int)i, &heir->served);
        if (heir->der
            && append(cache, slot, from_file || heir->is_pending
                                   ? &slot->pending : &slot->served,
                      heir->der, heir->len, &heir->meta) == APR_SUCCESS) {
            seeded++;
        }
    }
    return seeded;
}

/* How the share has fared so far; how it fares now is not known yet. */
static void seed_share(staple_cache_t *cache, const staple_cache_t *from)
{
    staple_cache_share_t sum;

    staple_cache_share(from, &sum);
    sum.since = 0;
    sum.is_silent = 0;
    staple_cache_count_share(cache, &sum);
}

/* Make the ring lie in a file, or say why it does not. */
static void settle_in_file(staple_cache_t *cache, const char *path,
                           const staple_cache_found_t *old,
                           staple_cache_report_t *report, apr_pool_t *p)
{
    apr_size_t length = cache->length;
    const char *aside;
    void *mapping = NULL;

    staple_cache_file_reap(path, p);
    if (old->what == STAPLE_CACHE_FOUND_FOREIGN) {
        report->new_file = "what is there is not touched";
    }
    else if (old->what == STAPLE_CACHE_FOUND_BROKEN) {
        report->new_file = staple_cache_file_set_aside(path, &aside, p);
        if (!report->new_file) {
            report->old_file = apr_psprintf(p, "%s; it was renamed to %s",
                                            old->why, aside);
        }
    }
    if (!report->new_file) {
        report->new_file = staple_cache_file_make(path, cache->base, length,
                                                  &mapping, p);
    }
    if (mapping) {
        staple_cache_unmap(cache);
        bind_segment(cache, mapping, length);
    }
}

/* The file that may be there, as a cache of its own; NULL: none to use. */
static staple_cache_t *find_old(const char *path, staple_cache_found_t *old,
                                staple_cache_report_t *report, apr_pool_t *p)
{
    staple_cache_t *cache = NULL;

    memset(old, 0, sizeof(*old));
    old->what = STAPLE_CACHE_FOUND_NOTHING;
    if (path) {
        *old = staple_cache_file_find(path, 0, p);
    }
    if (old->what == STAPLE_CACHE_FOUND_RING) {
        staple_cache_attach(&cache, old->base, old->size, p);
    }
    else if (old->what != STAPLE_CACHE_FOUND_NOTHING) {
        report->old_file = old->why;
    }
    return cache;
}

apr_status_t staple_cache_create_at(staple_cache_t **cache,
                                    const staple_cache_conf_t *conf,
                                    staple_cache_report_t *report,
                                    apr_uint64_t start, apr_pool_t *p)
{
    staple_cache_t *from = conf->previous;
    apr_uint64_t generation = 1;
    staple_cache_usage_t usage;
    apr_pool_t *ptemp;
    apr_status_t rv;
    apr_size_t fit;
    heir_t *heirs;
    staple_cache_found_t old;
    staple_cache_t *old_ring;
    void *base;

    memset(report, 0, sizeof(*report));
    rv = apr_pool_create(&ptemp, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    old_ring = find_old(conf->path, &old, report, p);
    if (from) {
        report->seed = STAPLE_CACHE_SEED_MEMORY;
    }
    else if (old_ring) {
        report->seed = STAPLE_CACHE_SEED_FILE;
        from = old_ring;
    }
    heirs = inherit_all(conf, from, ptemp);
    fit = plan(conf, heirs, report);
    if (from) {
        staple_cache_usage(from, &usage);
        generation = usage.generation + 1;
    }
    base = map_memory(report->size_granted);
    if (!base) {
        rv = APR_ENOMEM;
        goto cleanup;
    }
    *cache = apr_pcalloc(p, sizeof(**cache));
    format(*cache, base, report->size_granted, conf, (apr_uint32_t)fit, start,
           generation);
    report->seeded = seed(*cache, heirs,
                          report->seed == STAPLE_CACHE_SEED_FILE);
    if (from) {
        seed_share(*cache, from);
        report->dropped = usage.records > report->seeded
                          ? usage.records - report->seeded : 0;
    }
    if (conf->path) {
        settle_in_file(*cache, conf->path, &old, report, p);
    }

cleanup:
    if (old_ring) {
        staple_cache_unmap(old_ring);
    }
    apr_pool_destroy(ptemp);
    return rv;
}

apr_status_t staple_cache_create(staple_cache_t **cache,
                                 const staple_cache_conf_t *conf,
                                 staple_cache_report_t *report, apr_pool_t *p)
{
    return staple_cache_create_at(cache, conf, report, 0, p);
}

/* ---- The directive's argument. ---- */

const char *staple_cache_parse_spec(staple_cache_spec_t *spec, const char *arg,
                                    apr_pool_t *p)
{
    char *path = apr_pstrdup(p, arg ? arg : "");
    apr_size_t len = strlen(path);
    char *open_at = strrchr(path, '(');
    apr_int64_t size;
    char *end;

    spec->path = *path ? path : NULL;
    spec->size = STAPLE_CACHE_SIZE_DEFAULT;
    if (!open_at) {
        return len && path[len - 1] == ')'
               ? "a size needs an opening parenthesis: path(bytes)" : NULL;
    }
    if (path[len - 1] != ')') {
        return "a size needs a closing parenthesis at the end: path(bytes)";
    }
    *open_at++ = '\0';
    spec->path = *path ? path : NULL;
    errno = 0;
    size = apr_strtoi64(open_at, &end, 10);
    if (end == open_at || strcmp(end, ")")) {
        return apr_psprintf(p, "the size is a number of bytes, not \"%.*s\"",
                            (int)strcspn(open_at, ")"), open_at);
    }
    if (errno || size < (apr_int64_t)STAPLE_CACHE_SIZE_MIN
        || size >= (apr_int64_t)SIZE_LIMIT) {
        return apr_psprintf(p, "the size has to be at least %" APR_SIZE_T_FMT
                            " and less than %" APR_SIZE_T_FMT
                            " bytes, not %.*s",
                            STAPLE_CACHE_SIZE_MIN, SIZE_LIMIT,
                            (int)strcspn(open_at, ")"), open_at);
    }
    spec->size = (apr_size_t)size;
    return NULL;
}
