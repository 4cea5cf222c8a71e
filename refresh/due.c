/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The heap of due times, see refresh/due.h for the contract.
 *
 * The one idea: a binary tree in an array, in which nobody is due before the
 * one above. Places begin at 1: below place n are 2 n and 2 n + 1. Beside it
 * stands where each number lies, so that one can be moved without a search.
 *
 *   place          1    2    3    4    5
 *   when           3    7    4    9    8
 *   number         2    0    4    1    3        places[] = { 2, 4, 1, 5, 3 }
 */

#include "due.h"

typedef struct entry_t {
    apr_time_t when;
    apr_size_t number;
} entry_t;

struct staple_due_t {
    entry_t *heap;      /* from 1 on */
    apr_size_t count;   /* entries of heap */
    apr_size_t *places; /* by number; 0: not there */
};

staple_due_t *staple_due_make(apr_size_t count, apr_pool_t *p)
{
    staple_due_t *due = apr_pcalloc(p, sizeof(*due));

    due->heap = apr_pcalloc(p, (count + 1) * sizeof(*due->heap));
    due->places = apr_pcalloc(p, (count + 1) * sizeof(*due->places));
    return due;
}

apr_size_t staple_due_count(const staple_due_t *due)
{
    return due->count;
}

static void put_entry(staple_due_t *due, apr_size_t place, entry_t entry)
{
    due->heap[place] = entry;
    due->places[entry.number] = place;
}

/* Find a place for an entry, at this one or above. */
static void rise(staple_due_t *due, apr_size_t place, entry_t entry)
{
    while (place > 1 && entry.when < due->heap[place / 2].when) {
        put_entry(due, place, due->heap[place / 2]);
        place /= 2;
    }
    put_entry(due, place, entry);
}

/* The place below this one that is due first; 0: there is none. */
static apr_size_t first_below(const staple_due_t *due, apr_size_t place)
{
    apr_size_t below = place * 2;

    if (below > due->count) {
        return 0;
    }
    return below < due->count
           && due->heap[below + 1].when < due->heap[below].when
           ? below + 1 : below;
}

/* Find a place for an entry, at this one or below. */
static void sink(staple_due_t *due, apr_size_t place, entry_t entry)
{
    apr_size_t below = first_below(due, place);

    while (below && due->heap[below].when < entry.when) {
        put_entry(due, place, due->heap[below]);
        place = below;
        below = first_below(due, place);
    }
    put_entry(due, place, entry);
}

/* Find a place for an entry, wherever that is. */
static void find_place(staple_due_t *due, apr_size_t place, entry_t entry)
{
    if (place > 1 && entry.when < due->heap[place / 2].when) {
        rise(due, place, entry);
    }
    else {
        sink(due, place, entry);
    }
}

void staple_due_set(staple_due_t *due, apr_size_t number, apr_time_t when)
{
    apr_size_t place = due->places[number];
    entry_t entry = { when, number };

    find_place(due, place ? place : ++due->count, entry);
}

void staple_due_clear(staple_due_t *due, apr_size_t number)
{
    apr_size_t place = due->places[number];
    entry_t last;

    if (!place) {
        return;
    }
    due->places[number] = 0;
    last = due->heap[due->count--];
    if (place <= due->count) { /* the last one takes the place that is free */
        find_place(due, place, last);
    }
}

int staple_due_take(staple_due_t *due, apr_time_t now, apr_size_t *number)
{
    if (!due->count || due->heap[1].when > now) {
        return 0;
    }
    *number = due->heap[1].number;
    staple_due_clear(due, *number);
    return 1;
}
