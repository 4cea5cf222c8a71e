/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The entries of the share, byte by byte; share/entry.h shows their layout.
 * What lives here: how keys, records and claims are written and read. What does
 * not: how they get into the store, and for how long.
 *
 * The one idea: anybody may have written what is found in the store. An entry
 * is accepted only if it is, byte for byte, what this file would write; any
 * other is treated as if there were none.
 */

#include "entry.h"

#include <string.h>

/* What every value starts with. */
#define HEAD_LEN 8

/* Where a record's fields are. */
#define LENGTH_AT HEAD_LEN
#define FETCHED_AT 12

_Static_assert(STAPLE_SHARE_CLAIM_LEN
               == HEAD_LEN + STAPLE_SHARE_IDENTITY_LEN,
               "a claim is a head and an identity");
_Static_assert(STAPLE_SHARE_HEAD_LEN == FETCHED_AT + 8,
               "a response follows the fields of its record");

/* ----- parts ----- */

static void write_number(unsigned char *to, apr_uint64_t n, int bytes)
{
    while (bytes--) {
        to[bytes] = (unsigned char)(n & 0xff);
        n >>= 8;
    }
}

static apr_uint64_t read_number(const unsigned char *from, int bytes)
{
    apr_uint64_t n = 0;

    while (bytes--) {
        n = n << 8 | *from++;
    }
    return n;
}

static void write_head(unsigned char head[HEAD_LEN], char kind)
{
    memcpy(head, "STP", 3);
    head[3] = (unsigned char)kind;
    head[4] = STAPLE_SHARE_VERSION;
    memset(head + 5, 0, 3);
}

/* ----- keys ----- */

void staple_share_write_key(unsigned char key[STAPLE_SHARE_KEY_LEN],
                            const unsigned char *id, staple_share_key_e kind)
{
    unsigned char *end = key + STAPLE_ID_LEN;

    memcpy(key, id, STAPLE_ID_LEN);
    memcpy(end, "staple", 6);
    end[6] = STAPLE_SHARE_VERSION;
    end[7] = (unsigned char)kind;
}

/* ----- records ----- */

apr_size_t staple_share_pack(unsigned char *buf, const unsigned char *der,
                             apr_size_t der_len, apr_time_t fetched_at)
{
    if (!der_len || der_len > STAPLE_SHARE_DER_MAX || fetched_at <= 0) {
        return 0;
    }
    write_head(buf, 'R');
    write_number(buf + LENGTH_AT, der_len, 4);
    write_number(buf + FETCHED_AT, (apr_uint64_t)fetched_at, 8);
    memcpy(buf + STAPLE_SHARE_HEAD_LEN, der, der_len);
    return STAPLE_SHARE_HEAD_LEN + der_len;
}

int staple_share_unpack(staple_share_answer_t *answer,
                        const unsigned char *bytes, apr_size_t len)
{
    unsigned char head[HEAD_LEN];
    apr_uint64_t fetched_at;

    memset(answer, 0, sizeof(*answer));
    answer->outcome = STAPLE_SHARE_MISSING;
    write_head(head, 'R');
    if (len <= STAPLE_SHARE_HEAD_LEN || len > STAPLE_SHARE_RECORD_MAX
        || memcmp(bytes, head, sizeof(head))
        || read_number(bytes + LENGTH_AT, 4) != len - STAPLE_SHARE_HEAD_LEN) {
        return 0;
    }
    fetched_at = read_number(bytes + FETCHED_AT, 8);
    if (!fetched_at || fetched_at > APR_INT64_MAX) {
        return 0;
    }
    answer->outcome = STAPLE_SHARE_FOUND;
    answer->der = bytes + STAPLE_SHARE_HEAD_LEN;
    answer->der_len = len - STAPLE_SHARE_HEAD_LEN;
    answer->fetched_at = (apr_time_t)fetched_at;
    return 1;
}

/* ----- claims ----- */

void staple_share_write_claim(unsigned char claim[STAPLE_SHARE_CLAIM_LEN],
                              const unsigned char *identity)
{
    write_head(claim, 'C');
    memcpy(claim + HEAD_LEN, identity, STAPLE_SHARE_IDENTITY_LEN);
}

staple_share_outcome_e staple_share_read_claim(const unsigned char *ours,
                                               const unsigned char *bytes,
                                               apr_size_t len)
{
    if (len != STAPLE_SHARE_CLAIM_LEN || memcmp(bytes, ours, HEAD_LEN)) {
        return STAPLE_SHARE_MISSING;
    }
    return memcmp(bytes, ours, STAPLE_SHARE_CLAIM_LEN) ? STAPLE_SHARE_TAKEN
                                                       : STAPLE_SHARE_MINE;
}
