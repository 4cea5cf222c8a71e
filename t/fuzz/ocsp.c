/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fuzz target: judge these bytes. Every input is judged twice: as it is, and
 * if it can be read, signed anew with the test issuer's key, because almost
 * no mutation gets past a signature and what lies behind it wants to be
 * reached as well. Besides not crashing, a verdict must be coherent.
 *
 * The seeds in corpus/ocsp are written by `t/unit/ocsp --corpus DIR`.
 */

#include "staple_ocsp.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <openssl/err.h>

#include "../unit/pki.h"
#include "../unit/subject.h"
#include "fuzz.h"
#include "ocsp_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DAY ((apr_interval_time_t)86400 * APR_USEC_PER_SEC)

/* With and without a greatest age. */
static const staple_ocsp_policy_t policies[] = {
    { .skew = 300 * APR_USEC_PER_SEC, .max_age = -1, .default_age = DAY },
    { .skew = 0, .max_age = 10 * DAY, .default_age = DAY }
};

static apr_pool_t *pool, *scratch;
static pki_id_t issuer;
static staple_ocsp_subject_t *subject;

/* What we would ask has the length that its first bytes say. */
static void check_request(staple_ocsp_hash_e hash)
{
    const unsigned char *der;
    apr_size_t len;

    require(!staple_ocsp_request(subject, hash, &der, &len, pool));
    require(der[0] == 0x30 && len == der[1] + 2U);
}

static void begin(void)
{
    pki_id_t leaf;

    pool = fuzz_pool();
    apr_pool_create(&scratch, pool);
    issuer = pki_read(PAIR_CA, pool);
    leaf = pki_read(PAIR_LEAF, pool);
    require(!subject_of(&subject, leaf.cert, issuer.cert,
                                        pool));
    check_request(STAPLE_OCSP_SHA1);
    check_request(STAPLE_OCSP_SHA256);
}

static void check_error(staple_ocsp_reason_e reason)
{
    staple_ocsp_verdict_t v;
    apr_size_t len;
    const unsigned char *bytes = staple_ocsp_error(reason, &len);

    if (bytes) {
        require(staple_ocsp_judge(&v, subject, policies, PAIR_NOW, bytes, len)
                == reason);
    }
}

static void judge_by(const staple_ocsp_policy_t *policy,
                     const unsigned char *bytes, apr_size_t len)
{
    staple_ocsp_verdict_t v;
    staple_ocsp_reason_e reason;
    apr_time_t from, until;

    reason = staple_ocsp_judge(&v, subject, policy, PAIR_NOW, bytes, len);
    require(reason == v.reason && reason <= STAPLE_OCSP_CONTRADICTS);
    require(!ERR_peek_error());
    require(*staple_ocsp_reason_text(reason));
    check_error(reason);
    if (reason == STAPLE_OCSP_OK) {
        require(staple_ocsp_may_be_about(subject, bytes, len));
        require(*staple_ocsp_status_text(v.status));
        require(*staple_ocsp_crl_reason_text(v.crl_reason));
        staple_ocsp_window(policy, v.this_update, v.next_update, &from,
                           &until);
        require(from <= PAIR_NOW);
        /* A delegate is valid to the end of his last second, and what he has
         * signed is served to its beginning. */
        require(PAIR_NOW < until || v.signer_until == PAIR_NOW);
        require(v.this_update > 0 && v.produced_at >= 0);
        require(v.is_delegated == (v.signer_until != 0));
    }
}

static void judge(const unsigned char *bytes, apr_size_t len)
{
    judge_by(&policies[0], bytes, len);
    judge_by(&policies[1], bytes, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pki_der_t der;

    if (!pool) {
        begin();
    }
    der.bytes = apr_pmemdup(scratch, data, size);
    der.len = size;
    judge(data, size);
    der = pki_sign_again(der, &issuer, scratch);
    if (der.bytes) {
        judge(der.bytes, der.len);
    }
    apr_pool_clear(scratch);
    return 0;
}
