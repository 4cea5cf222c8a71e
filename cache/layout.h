/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_INT_H
#define STAPLE_CACHE_INT_H

/*
 * The inside of the ring: how a segment lies in memory and in its file, and
 * the counters beside it, which lie in no file. Only
 * the files of the room (cache/segment.h lists them), their tests, the
 * benchmark and the program that prints a ring may include this; everybody
 * else has staple_cache.h.
 *
 *   0         832         + 232 n       + 8 n         + 96 m
 *   +---------+-----------+-------------+-------------+--------------------+
 *   | header  | slots[n]  | buckets[2n] | others[m]   | data, a cyclic log |
 *   +---------+-----------+-------------+-------------+--------------------+
 *
 * All is made of fixed-width integers in the machine's order, at offsets that
 * follow from the numbers of slots and others and the size of the segment. No
 * pointers.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "staple_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/** First bytes of every segment, of whatever version. */
#define STAPLE_CACHE_MAGIC "STAPLRNG"

/** Goes up with every change of what is laid out here. */
#define STAPLE_CACHE_VERSION 5

/** Reads differently on a machine of another byte order. */
#define STAPLE_CACHE_BYTE_ORDER 0x01020304u

/** Records and the data area are made of blocks: a block never wraps. */
#define STAPLE_CACHE_BLOCK 64
#define STAPLE_CACHE_BLOCK_WORDS 8

/** What a response is assumed to take until one has been seen. */
#define STAPLE_CACHE_TYPICAL ((apr_size_t)2048)

/** How many requests may wait in the file. */
#define STAPLE_CACHE_ASKED 6

/** Words of a staple_cache_state_t. */
#define STAPLE_CACHE_STATE_WORDS 11

/** Bytes of the id that a record repeats. */
#define STAPLE_CACHE_ID_MARK 16

/** A word that several processes load and store. */
typedef _Atomic apr_uint64_t staple_cache_word_t;

/**
 * The start of a segment. The first two cache lines are written before anybody
 * else can see the segment and never again; then one for the writer, one for
 * the thread that copies to the file, three for the journal and for what the
 * writer says of its share, and six for failures by kind.
 */
typedef struct staple_cache_header_t {
    char magic[8];
    apr_uint32_t version;
    apr_uint32_t byte_order;
    apr_uint32_t header_size; /* the sizes this was compiled with */
    apr_uint32_t slot_size;
    apr_uint32_t record_size;
    apr_uint32_t id_len;
    apr_uint64_t segment_size; /* bytes, all included */
    apr_uint32_t slots;        /* how many */
    apr_uint32_t buckets;      /* how many */
    apr_uint64_t slots_offset;
    apr_uint64_t buckets_offset;
    apr_uint64_t data_offset;
    apr_uint64_t data_size; /* a multiple of STAPLE_CACHE_BLOCK */
    apr_uint64_t start;     /* the position that lies at data_offset; a multiple
                               of STAPLE_CACHE_BLOCK, 0 but in tests */
    apr_uint64_t generation;
    apr_int64_t created;
    apr_uint64_t others_offset;
    apr_uint32_t others;       /* how many */
    apr_uint32_t reserved;
    apr_uint64_t sum; /* over all of the above */

    /* Positions: count bytes ever written, only grow, never wrap in practice
     * and harmlessly in tests. */
    staple_cache_word_t head; /* where the next record goes */
    staple_cache_word_t tail; /* the oldest record that is still there */
    staple_cache_word_t longest; /* no living record has more bytes */
    /* Counters since the segment was made. */
    staple_cache_word_t stored;
    staple_cache_word_t moved;
    staple_cache_word_t refused;
    apr_uint64_t unused[2];

    /* By the thread that copies, in memory only; 0 in the file. */
    staple_cache_word_t copy_round;  /* when it last ended a round, by the clock
                                        that never jumps; 0: never */
    staple_cache_word_t copy_status; /* apr_status_t of that round */

    /* By the file's owner, in the file only: what is asked of the refresher,
     * in the words of staple_cache_counters_t. The thread that copies reads
     * them once a second and makes them 0 again when they are taken. */
    staple_cache_word_t asked[STAPLE_CACHE_ASKED];

    /* The journal: the state being written, whole before its slot's seq
     * becomes odd. */
    staple_cache_word_t journal_slot;
    staple_cache_word_t journal_sum;
    staple_cache_word_t journal[STAPLE_CACHE_STATE_WORDS];

    /* The share of a fleet, as in staple_cache_share_t. */
    staple_cache_word_t share_hits;
    staple_cache_word_t share_misses;
    staple_cache_word_t share_foreign;
    staple_cache_word_t share_stored;
    staple_cache_word_t share_dropped;
    staple_cache_word_t share_unanswered;
    staple_cache_word_t share_errors;
    staple_cache_word_t share_last_error;
    staple_cache_word_t share_last_status;
    staple_cache_word_t share_since; /* << 1 | is_silent: they change as one */
    apr_uint64_t unused_last[1];

    /* Since the file was begun. */
    staple_cache_word_t failures[STAPLE_CACHE_FAILURES];
} staple_cache_header_t;

_Static_assert(sizeof(staple_cache_header_t) == 832, "header layout");
_Static_assert(offsetof(staple_cache_header_t, sum) == 120, "header layout");
_Static_assert(offsetof(staple_cache_header_t, head) == 128, "header layout");
_Static_assert(offsetof(staple_cache_header_t, copy_round) == 192,
               "header layout");
_Static_assert(offsetof(staple_cache_header_t, asked) == 208, "header layout");
_Static_assert(offsetof(staple_cache_header_t, journal_slot) == 256,
               "header layout");
_Static_assert(offsetof(staple_cache_header_t, failures) == 448,
               "header layout");

/** What is known of a certificate when the segment is made; never changes. */
typedef struct staple_cache_label_t {
    char name[STAPLE_CACHE_NAME_LEN]; /* ends in 0 */
    apr_int64_t not_after;
    apr_uint32_t traits;
    apr_uint32_t unused;
} staple_cache_label_t;

/**
 * One certificate. A mark is a record's position + 1: positions are multiples
 * of 64, so 0 is free to say "none" and the lowest bits are a first check.
 */
typedef struct staple_cache_slot_t {
    staple_cache_word_t served;  /* mark of the record that is served */
    staple_cache_word_t pending; /* mark of the record that waits to be
                                    confirmed; means nothing once served is
                                    set */
    unsigned char id[STAPLE_ID_LEN]; /* never changes */
    _Atomic apr_uint32_t seq;    /* odd: the state is in the journal; goes up
                                    by 2 for each state, wraps harmlessly */
    _Atomic apr_uint32_t wanted; /* bytes of the record that was refused for
                                    want of room; 0: none was. The next
                                    generation makes room for it. */
    staple_cache_word_t state_sum;
    staple_cache_word_t state[STAPLE_CACHE_STATE_WORDS];
    /* What was counted before this generation; in the file, until the slot was
     * last copied. What is counted now is in the counters. */
    staple_cache_word_t served_count;
    staple_cache_word_t missed_count;
    staple_cache_label_t label;
} staple_cache_slot_t;

_Static_assert(sizeof(staple_cache_slot_t) == 232, "slot layout");
_Static_assert(offsetof(staple_cache_slot_t, state) == 64, "slot layout");
_Static_assert(offsetof(staple_cache_slot_t, served_count) == 152,
               "slot layout");
_Static_assert(offsetof(staple_cache_slot_t, label) == 168, "slot layout");

/** A certificate without a slot; never changes. */
typedef struct staple_cache_listed_t {
    unsigned char id[STAPLE_ID_LEN];
    staple_cache_label_t label;
} staple_cache_listed_t;

_Static_assert(sizeof(staple_cache_listed_t) == 96, "layout of others");
_Static_assert(sizeof(staple_cache_state_t)
               == STAPLE_CACHE_STATE_WORDS * sizeof(apr_uint64_t),
               "a state is copied by words and has no padding");

/** One block ahead of the DER bytes, which are padded with 0. */
typedef struct staple_cache_record_t {
    apr_uint64_t sum; /* over the slot's whole id, the rest of this block and
                         all blocks of the response */
    apr_uint32_t len; /* bytes of DER: 1 .. STAPLE_CACHE_DER_MAX */
    apr_uint32_t slot;
    unsigned char id[STAPLE_CACHE_ID_MARK]; /* how the slot's id begins */
    apr_int64_t this_update;
    apr_int64_t next_update;
    apr_int64_t fetched_at;
    apr_uint32_t status;
    apr_uint32_t flags;
} staple_cache_record_t;

_Static_assert(sizeof(staple_cache_record_t) == STAPLE_CACHE_BLOCK,
               "record layout");
_Static_assert(STAPLE_CACHE_BLOCK
               == STAPLE_CACHE_BLOCK_WORDS * sizeof(apr_uint64_t),
               "block layout");

/* ---- The counters, which every process may write. ---- */

/** How many requests may wait for the refresher. */
#define STAPLE_CACHE_REQUESTS 8

_Static_assert(STAPLE_CACHE_ASKED + STAPLE_CACHE_REQUESTS
               == STAPLE_CACHE_REQUESTS_MAX,
               "the contract says how many may wait");

/** What handshakes with one certificate got, since the segment was made. */
typedef struct staple_cache_count_t {
    staple_cache_word_t served;
    staple_cache_word_t missed;
} staple_cache_count_t;

/**
 * Beside a segment. Any process may have written anything here, so nothing
 * follows from it but a number on a page, or a request for a slot that exists.
 */
typedef struct staple_cache_counters_t {
    /* What an administrator asks of the refresher and it has not taken yet,
     * (slot << 32) | staple_cache_request_e, or-ed; 0: free. */
    staple_cache_word_t requests[STAPLE_CACHE_REQUESTS];
    /* What became of handshakes for which a must-staple certificate had nothing
     * to staple, by staple_cache_must_e; since the segment was made. */
    staple_cache_word_t must[STAPLE_CACHE_MUSTS];
    apr_uint64_t unused[8 - STAPLE_CACHE_MUSTS];
    staple_cache_count_t slot[]; /* as many as the segment has */
} staple_cache_counters_t;

_Static_assert(offsetof(staple_cache_counters_t, slot) == 128,
               "the counters of slots begin a cache line");

/* ---- What is common to the room and its tests. ---- */

/**
 * Is this the start of a segment of `length` bytes, in a layout that can be
 * read? Only the fixed part is looked at.
 * @return NULL, or why not
 */
const char *staple_cache_check_header(const staple_cache_header_t *header,
                                      apr_uint64_t length);

/** staple_cache_create with a first position, so that tests can wrap it. */
apr_status_t staple_cache_create_at(staple_cache_t **cache,
                                    const staple_cache_conf_t *conf,
                                    staple_cache_report_t *report,
                                    apr_uint64_t start, apr_pool_t *p);

/**
 * A cache over bytes that lie somewhere, with neither counters nor a file.
 * @return APR_SUCCESS, or APR_EINVAL where the bytes are no segment
 */
apr_status_t staple_cache_attach(staple_cache_t **cache, void *base,
                                 apr_size_t length, apr_pool_t *p);

/** Where the segment lies in this process. */
void staple_cache_mapping(const staple_cache_t *cache, void **base,
                          apr_size_t *length);

/**
 * Do what the thread that copies does each second, in the caller's thread.
 * @param with_counts whether slots are copied of which only the counts differ
 */
apr_status_t staple_cache_copy_round(staple_cache_t *cache, int with_counts,
                                     apr_pool_t *p);

/** Bytes that a response takes in the data area. */
apr_uint64_t staple_cache_record_bytes(apr_size_t der_len);

/**
 * Bytes of a segment for n certificates.
 * @param records the sum of staple_cache_record_bytes over their responses
 * @param longest the greatest of these
 */
apr_uint64_t staple_cache_need(apr_size_t n, apr_uint64_t records,
                               apr_uint64_t longest);

/** The checksum of a record: `blocks` blocks at `words`, the first of which is
 * a staple_cache_record_t whose sum counts as 0. */
apr_uint64_t staple_cache_sum(const unsigned char id[STAPLE_ID_LEN],
                              const void *words, apr_size_t blocks);

/** The checksum over what never changes of a header. */
apr_uint64_t staple_cache_header_sum(const staple_cache_header_t *header);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_INT_H */
