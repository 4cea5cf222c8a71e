/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: what a mistyped word was meant to be.
 */

#include "staplectl.h"

#include <string.h>

/* Longer words are not compared. */
#define WORD_MAX 31

/* More changes than these make it another word. */
#define CHANGES_MAX 2

static int least(int a, int b, int c)
{
    int ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* How many letters have to be put in, left out or replaced to make one word of
 * the other: row i of the usual table, from the row before. */
static int distance(const char *a, const char *b)
{
    int row[WORD_MAX + 1];
    int len = (int)strlen(b), i, k;

    for (k = 0; k <= len; k++) {
        row[k] = k;
    }
    for (i = 1; a[i - 1]; i++) {
        int diagonal = row[0];

        row[0] = i;
        for (k = 1; k <= len; k++) {
            int above = row[k];

            row[k] = least(above + 1, row[k - 1] + 1,
                           diagonal + (a[i - 1] != b[k - 1]));
            diagonal = above;
        }
    }
    return row[len];
}

const char *staplectl_nearest(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    int best = CHANGES_MAX + 1;

    for (; *words; words++) {
        int changes;

        if (strlen(word) > WORD_MAX || strlen(*words) > WORD_MAX) {
            continue;
        }
        changes = distance(word, *words);
        if (changes < best) {
            best = changes;
            nearest = *words;
        }
    }
    return nearest;
}
