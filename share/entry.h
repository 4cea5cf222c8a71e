/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_SHARE_ENTRY_H
#define STAPLE_SHARE_ENTRY_H

/*
 * The entries of the share: the keys, and the values that are stored under
 * them. Pure functions: they read and write the bytes that they are given and
 * nothing else. For the files of the share and their tests.
 *
 * Keys. A provider makes its own of an id: redis and memcache write
 * "mod_staple:" and the id in hexadecimal (so twice as long; 250 bytes are
 * the limit), dbm and dc take it as it is, shmcb picks a partition by its
 * first byte. So a key starts with what differs, the certificate's id, and
 * ends with what distinguishes our entries from those of others:
 *
 *   +--------------+----------+---------+------------------------------+
 *   | id, 32 bytes | "staple" | version | 'r' a response, 'c' a claim  |
 *   +--------------+----------+---------+------------------------------+
 *
 * A response's record; integers have the most significant byte first:
 *
 *   +--------+---------+---------+------------+---------------------+-----+
 *   | "STPR" | version | 0, 0, 0 | length, 32 | fetched_at, us, 64  | DER |
 *   +--------+---------+---------+------------+---------------------+-----+
 *
 * A claim is "STPC", version, 0, 0, 0 and the server's identity, which is
 * random bytes that each start of a share makes anew where none is set.
 */

#include "staple_id.h"
#include "staple_share.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Goes up when keys or records change; servers of another version neither
 * see ours nor overwrite them. */
#define STAPLE_SHARE_VERSION '1'

#define STAPLE_SHARE_KEY_LEN (STAPLE_ID_LEN + 8)
#define STAPLE_SHARE_HEAD_LEN 20
#define STAPLE_SHARE_RECORD_MAX (STAPLE_SHARE_HEAD_LEN + STAPLE_SHARE_DER_MAX)
#define STAPLE_SHARE_CLAIM_LEN 24

/** What the provider is told of us; mod_socache_redis takes 14 characters. */
#define STAPLE_SHARE_NAMESPACE "mod_staple"

/** What is kept of a certificate, as its key says it. */
typedef enum {
    STAPLE_SHARE_KEY_RESPONSE = 'r',
    STAPLE_SHARE_KEY_CLAIM = 'c'
} staple_share_key_e;

/**
 * Write a key.
 * @param id STAPLE_ID_LEN bytes
 */
void staple_share_write_key(unsigned char key[STAPLE_SHARE_KEY_LEN],
                            const unsigned char *id, staple_share_key_e kind);

/**
 * Write a record.
 * @param buf STAPLE_SHARE_HEAD_LEN + der_len bytes
 * @return bytes written; 0: der_len is 0 or too long, or fetched_at is not
 *         positive
 */
apr_size_t staple_share_pack(unsigned char *buf, const unsigned char *der,
                             apr_size_t der_len, apr_time_t fetched_at);

/**
 * Read a record; trusts nothing.
 * @param answer outcome is FOUND or MISSING; der points into bytes
 * @return whether the bytes are a record as staple_share_pack writes them
 */
int staple_share_unpack(staple_share_answer_t *answer,
                        const unsigned char *bytes, apr_size_t len);

/**
 * Write a claim.
 * @param identity STAPLE_SHARE_IDENTITY_LEN bytes
 */
void staple_share_write_claim(unsigned char claim[STAPLE_SHARE_CLAIM_LEN],
                              const unsigned char *identity);

/**
 * Whose claim it is; trusts nothing.
 * @param ours STAPLE_SHARE_CLAIM_LEN bytes as staple_share_write_claim does
 * @return MINE, TAKEN, or MISSING: no claim at all
 */
staple_share_outcome_e staple_share_read_claim(const unsigned char *ours,
                                               const unsigned char *bytes,
                                               apr_size_t len);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_SHARE_ENTRY_H */
