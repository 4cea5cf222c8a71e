/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_BLOCK_H
#define STAPLE_CACHE_BLOCK_H

/*
 * Blocks, which records are made of, and sums over them, which say whether a
 * copy is what was written.
 *
 * The one idea: copying and summing up are one pass over whole blocks, in
 * registers, because a handshake waits for both. Hence all of it is inline,
 * and a block is four pairs of words and not bytes.
 */

#include <string.h>

#include "atomics.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Two words in one register. */
typedef apr_uint64_t pair_t __attribute__((vector_size(16)));

#define BLOCK_PAIRS (STAPLE_CACHE_BLOCK_WORDS / 2)
#define ID_WORDS (STAPLE_ID_LEN / (int)sizeof(apr_uint64_t))

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

/**
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

/** To private memory, without a detour through the stack. */
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

/**
 * Eight lanes, one for each word of a block. Each has the sum of its words
 * and the sum of these sums, so that a changed word shows, and so do words
 * that changed places. This finds accidents; it is no signature, and need not
 * be: every response was verified before it was stored.
 */
typedef struct sum_t {
    block_t once;
    block_t twice;
} sum_t;

/** The lanes begin with the id, so a record fits no other certificate. */
static inline void sum_begin(sum_t *sum,
                             const unsigned char id[STAPLE_ID_LEN])
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

/**
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

/** The first block of a record, in which the word of the sum counts as 0. */
static inline void sum_first(sum_t *sum, block_t block)
{
    block.pair[0][0] = 0;
    sum_block(sum, &block);
}

/** A hash of an id, which need not be one already. */
static inline apr_uint64_t hash_id(const unsigned char id[STAPLE_ID_LEN])
{
    apr_uint64_t word[ID_WORDS];

    memcpy(word, id, sizeof(word));
    return scramble(word[0] ^ 0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u)
           ^ scramble(word[1] + word[2] * 3 + word[3] * 5, 0x9FB21C651E98DF25u);
}

/** memcmp, but without a call. */
static inline int same_id(const unsigned char *a, const unsigned char *b)
{
    apr_uint64_t x[ID_WORDS], y[ID_WORDS];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]))
           == 0;
}

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_BLOCK_H */
