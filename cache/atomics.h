/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_ATOMIC_H
#define STAPLE_CACHE_ATOMIC_H

/*
 * The atomics: every load and store of what may change meanwhile, named by
 * what it means. docs/ring.md has the table of who pairs with whom.
 *
 * The one idea: a memory ordering is chosen here and nowhere else. Who calls
 * word_get says that what it gets counts only after another look; who calls
 * mark_take, that what is read next depends on it.
 */

#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A lock hidden in an atomic would be one that a killed writer keeps. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "the ring needs atomic words of 64 bits without locks");
_Static_assert(sizeof(staple_cache_word_t) == sizeof(apr_uint64_t),
               "an atomic word is a word");

typedef staple_cache_word_t word_t;
typedef staple_cache_slot_t slot_t;

/**
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

/**
 * Take a slot's mark. The acquire pairs with the release in mark_publish:
 * without it the words of the record could be those from before it was
 * written.
 */
static inline apr_uint64_t mark_take(const word_t *mark)
{
    return atomic_load_explicit((word_t *)mark, memory_order_acquire);
}

/**
 * Make a slot point at a record, or (0) at none. Pairs with mark_take; the
 * same release also keeps the stores of head, mark and tail in this order for
 * the next writer, should this one be killed.
 */
static inline void mark_publish(word_t *mark, apr_uint64_t value)
{
    atomic_store_explicit(mark, value, memory_order_release);
}

/**
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

/**
 * Between marks that no longer point at some bytes and the first store to
 * those bytes. Pairs with mark_still.
 */
static inline void room_freed(void)
{
    atomic_thread_fence(memory_order_release);
}

/** A position; the release is for the next writer, see
 * mark_publish. */
static inline void position_put(word_t *position, apr_uint64_t value)
{
    atomic_store_explicit(position, value, memory_order_release);
}

/**
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

/** As mark_still; pairs with state_freed. */
static inline int seq_still(const slot_t *slot, apr_uint32_t seq)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit((_Atomic apr_uint32_t *)&slot->seq,
                                memory_order_relaxed) == seq;
}

/** Between the seq that sends readers elsewhere and the first store to the
 * words they have left. Pairs with seq_still. */
static inline void state_freed(void)
{
    atomic_thread_fence(memory_order_release);
}

/**
 * The bytes a slot would have needed. Nothing is read after it: relaxed.
 */
static inline apr_uint32_t wanted_get(const slot_t *slot)
{
    return atomic_load_explicit((_Atomic apr_uint32_t *)&slot->wanted,
                                memory_order_relaxed);
}

static inline void wanted_put(slot_t *slot, apr_uint32_t bytes)
{
    atomic_store_explicit(&slot->wanted, bytes, memory_order_relaxed);
}

/**
 * A sum that any process adds to and nothing else is read after: relaxed.
 */
static inline apr_uint64_t count_add(word_t *counter, apr_uint64_t more)
{
    return atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/**
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

/**
 * One of 64 things has changed, or some have; and to learn of that. Who takes
 * it is to see what was changed before it was noted: release and acquire pair
 * with each other.
 */
/* @return whether it is the first one since change_take */
static inline int change_note(word_t *bits, unsigned int bit)
{
    apr_uint64_t mask = (apr_uint64_t)1 << bit;

    return !(atomic_fetch_or_explicit(bits, mask, memory_order_release)
             & mask);
}

static inline int change_take(word_t *bits, unsigned int bit)
{
    apr_uint64_t mask = (apr_uint64_t)1 << bit;

    return word_get(bits) & mask
           && atomic_fetch_and_explicit(bits, ~mask, memory_order_acquire)
              & mask;
}

/** A counter of the writer's, which nobody else writes. */
static inline void count_up(word_t *counter)
{
    word_put(counter, word_get(counter) + 1);
}

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_ATOMIC_H */
