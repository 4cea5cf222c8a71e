/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: what lies in the share, which other hosts write. A record is
 * read within its bounds or refused, and one that is taken is just what
 * staple_share_pack() would write; a claim is ours, another's or none.
 */

#include "../../share/entry.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_record(const unsigned char *bytes, apr_size_t len)
{
    staple_share_answer_t answer;
    unsigned char *again;

    if (!staple_share_unpack(&answer, bytes, len)) {
        require(answer.outcome == STAPLE_SHARE_MISSING);
        return;
    }
    require(answer.outcome == STAPLE_SHARE_FOUND);
    require(answer.der >= bytes && answer.der_len > 0
            && answer.der + answer.der_len == bytes + len);
    again = malloc(STAPLE_SHARE_HEAD_LEN + answer.der_len);
    require(again != NULL);
    require(staple_share_pack(again, answer.der, answer.der_len,
                              answer.fetched_at) == len);
    require(!memcmp(again, bytes, len));
    free(again);
}

static void read_claim(const unsigned char *bytes, apr_size_t len)
{
    static const unsigned char identity[STAPLE_SHARE_IDENTITY_LEN] = "me";
    unsigned char ours[STAPLE_SHARE_CLAIM_LEN];
    staple_share_outcome_e whose;

    staple_share_write_claim(ours, identity);
    whose = staple_share_read_claim(ours, bytes, len);
    require(whose == STAPLE_SHARE_MISSING || len == sizeof(ours));
    require((whose == STAPLE_SHARE_MINE)
            == (len == sizeof(ours) && !memcmp(ours, bytes, len)));
}

/* An id's record and its claim lie under two keys. */
static void make_keys(const unsigned char *id)
{
    unsigned char keys[2][STAPLE_SHARE_KEY_LEN];

    staple_share_write_key(keys[0], id, STAPLE_SHARE_KEY_RESPONSE);
    staple_share_write_key(keys[1], id, STAPLE_SHARE_KEY_CLAIM);
    require(memcmp(keys[0], keys[1], STAPLE_SHARE_KEY_LEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size); /* its end is the end of memory */

    if (bytes && size) {
        memcpy(bytes, data, size);
        read_record(bytes, size);
        read_claim(bytes, size);
        if (size >= STAPLE_ID_LEN) {
            make_keys(bytes);
        }
    }
    free(bytes);
    return 0;
}
