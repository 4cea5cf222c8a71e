/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves that a response is believed if and only if it is signed by whom the
 * issuer allows, speaks of our certificate and is current: one line a case,
 * each a real response made for it. Then every byte of a good response is
 * bent, and the corpus of the fuzzer is judged again.
 *
 * `ocsp --corpus DIR` writes the cases as seeds for the fuzzer instead. A
 * seed's name begins with the number of the reason that is expected.
 */

#include "staple_ocsp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/err.h>

#include "../fuzz/ocsp_pair.h"
#include "pki.h"
#include "subject.h"
#include "tap.h"

#define SEC APR_USEC_PER_SEC
#define DAY ((apr_interval_time_t)86400 * SEC)
#define MAX APR_INT64_MAX
#define MIN APR_INT64_MIN
#define REASONS (STAPLE_OCSP_CONTRADICTS + 1)

#define NONCE "1.3.6.1.5.5.7.48.1.2"
#define BASIC "1.3.6.1.5.5.7.48.1.1"
#define UNHEARD "1.2.3.4"
#define THIS "20270101000000Z" /* three days before PAIR_NOW */
#define NEXT "20270108000000Z"

static pki_id_t ca, leaf;    /* fixed; every other identity is new each time */
static pki_id_t other_leaf, renewed, cross, impostor, other_ca, root, sub,
    delegate, twin, unchecked, no_eku, any_eku, expired, not_yet,
    ends_now, begins_now, of_other, of_impostor, of_sub, renamed,
    of_renamed, broken, of_itself, strange, critical_no_check,
    impostor_delegate, rsa_ca, rsa_leaf, rsa_delegate,
    md5_delegate, ed_ca, ed_leaf;

static const struct {
    pki_id_t *id;
    pki_want_t want;
} people[] = {
    { &other_leaf, { .name = "other.example.org", .issuer = &ca,
                     .serial = 2 } },
    { &root, { .name = "Root", .extensions = { PKI_CA } } },
    { &other_ca, { .name = "Other CA", .extensions = { PKI_CA } } },
    { &impostor, { .name = "Test CA", .extensions = { PKI_CA } } },
    { &renewed, { .name = "Test CA", .key_of = &ca, .serial = 9,
                  .from = "20300101000000Z", .extensions = { PKI_CA } } },
    { &renamed, { .name = "CA Test", .key_of = &ca,
                  .extensions = { PKI_CA } } },
    { &cross, { .name = "Test CA", .key_of = &ca, .issuer = &root,
                .serial = 10, .extensions = { PKI_CA } } },
    { &sub, { .name = "Sub CA", .issuer = &ca, .extensions = { PKI_CA } } },
    { &delegate, { .name = "D", .issuer = &ca,
                   .extensions = { PKI_OCSP_SIGNER, PKI_NO_CHECK } } },
    { &twin, { .name = "D", .issuer = &ca, .serial = 3,
               .extensions = { PKI_OCSP_SIGNER } } },
    { &unchecked, { .name = "U", .issuer = &ca,
                    .extensions = { PKI_OCSP_SIGNER } } },
    { &critical_no_check, { .name = "C", .issuer = &ca, .extensions = {
          PKI_OCSP_SIGNER, "noCheck", "critical,ignored" } } },
    { &no_eku, { .name = "N", .issuer = &ca } },
    { &any_eku, { .name = "A", .issuer = &ca, .extensions = {
          "extendedKeyUsage", "serverAuth,anyExtendedKeyUsage" } } },
    { &strange, { .name = "S", .issuer = &ca, .extensions = {
          PKI_OCSP_SIGNER, UNHEARD, "critical,DER:0500" } } },
    { &broken, { .name = "B", .issuer = &ca, .extensions = {
          PKI_OCSP_SIGNER, "keyUsage", "DER:0500" } } },
    { &of_renamed, { .name = "D", .issuer = &renamed,
                     .extensions = { PKI_OCSP_SIGNER } } },
    { &expired, { .name = "E", .issuer = &ca, .until = "20270103235959Z",
                  .extensions = { PKI_OCSP_SIGNER } } },
    { &ends_now, { .name = "EN", .issuer = &ca, .until = "20270104000000Z",
                   .extensions = { PKI_OCSP_SIGNER } } },
    { &not_yet, { .name = "Y", .issuer = &ca, .from = "20270104000001Z",
                  .extensions = { PKI_OCSP_SIGNER } } },
    { &begins_now, { .name = "BN", .issuer = &ca, .from = "20270104000000Z",
                     .extensions = { PKI_OCSP_SIGNER } } },
    { &of_other, { .name = "D", .issuer = &other_ca,
                   .extensions = { PKI_OCSP_SIGNER, PKI_NO_CHECK } } },
    { &of_impostor, { .name = "D", .issuer = &impostor,
                      .extensions = { PKI_OCSP_SIGNER, PKI_NO_CHECK } } },
    { &impostor_delegate, { .name = "D", .key_of = &delegate,
                            .issuer = &impostor,
                            .extensions = { PKI_OCSP_SIGNER } } },
    { &of_sub, { .name = "D", .issuer = &sub,
                 .extensions = { PKI_OCSP_SIGNER, PKI_NO_CHECK } } },
    { &of_itself, { .name = "Test CA",
                    .extensions = { PKI_OCSP_SIGNER, PKI_NO_CHECK } } },
    { &rsa_ca, { .name = "RSA CA", .key_type = PKI_RSA,
                 .extensions = { PKI_CA } } },
    { &rsa_leaf, { .name = "rsa.example.org", .issuer = &rsa_ca } },
    { &rsa_delegate, { .name = "RD", .issuer = &rsa_ca, .key_type = PKI_RSA,
                       .extensions = { PKI_OCSP_SIGNER } } },
    { &ed_ca, { .name = "Ed CA", .key_type = PKI_ED25519,
                .extensions = { PKI_CA } } },
    { &ed_leaf, { .name = "ed.example.org", .issuer = &ed_ca } }
};

/* made only where this OpenSSL signs with MD5 at all */
static const pki_want_t md5_delegate_wanted = {
    .name = "MD", .issuer = &rsa_ca, .digest = EVP_md5,
    .extensions = { PKI_OCSP_SIGNER }
};

static staple_ocsp_subject_t *ours, *with_renewed, *with_cross, *with_rsa;
static staple_ocsp_subject_t *with_ed;

static const struct {
    staple_ocsp_subject_t **subject;
    const pki_id_t *leaf, *issuer;
} subjects[] = {
    { &ours, &leaf, &ca },
    { &with_renewed, &leaf, &renewed },
    { &with_cross, &leaf, &cross },
    { &with_rsa, &rsa_leaf, &rsa_ca },
    { &with_ed, &ed_leaf, &ed_ca }
};

static void meet(apr_pool_t *p)
{
    size_t i;

    ca = pki_read(PAIR_CA, p);
    leaf = pki_read(PAIR_LEAF, p);
    for (i = 0; i < sizeof(people) / sizeof(people[0]); i++) {
        *people[i].id = pki_make(&people[i].want, p);
    }
    if (pki_may_sign(EVP_md5, &rsa_ca)) {
        md5_delegate = pki_make(&md5_delegate_wanted, p);
    }
    for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        if (subject_of(subjects[i].subject, subjects[i].leaf->cert,
                       subjects[i].issuer->cert, p)) {
            abort();
        }
    }
}

typedef pki_der_t edit_fn(pki_der_t der, apr_pool_t *p);

static pki_der_t bend_end(pki_der_t der, apr_pool_t *p)
{
    der.bytes = apr_pmemdup(p, der.bytes, der.len);
    der.bytes[der.len - 1] ^= 1;
    return der;
}

static pki_der_t cut_end(pki_der_t der, apr_pool_t *p)
{
    (void)p;
    der.len--;
    return der;
}

static pki_der_t append(pki_der_t der, apr_pool_t *p)
{
    unsigned char *bytes = apr_pcalloc(p, der.len + 1);

    memcpy(bytes, der.bytes, der.len);
    der.bytes = bytes;
    der.len++;
    return der;
}

/* 30 81 xx becomes 30 82 00 xx: the same length, but not DER. For what is
 * long enough to write its length so. */
static pki_der_t lengthen(pki_der_t der, apr_pool_t *p)
{
    unsigned char *bytes = apr_palloc(p, der.len + 1);

    bytes[0] = der.bytes[0];
    bytes[1] = (unsigned char)(der.bytes[1] + 1);
    bytes[2] = 0;
    memcpy(bytes + 3, der.bytes + 2, der.len - 2);
    der.bytes = bytes;
    der.len++;
    return der;
}

static pki_der_t lengthen_inner(pki_der_t der, apr_pool_t *p)
{
    return pki_wrap(BASIC, lengthen(pki_unwrap(der, p), p), p);
}

static pki_der_t append_inner(pki_der_t der, apr_pool_t *p)
{
    return pki_wrap(BASIC, append(pki_unwrap(der, p), p), p);
}

static pki_der_t double_inner(pki_der_t der, apr_pool_t *p)
{
    pki_der_t one = pki_unwrap(der, p), two;

    two.len = 2 * one.len;
    two.bytes = apr_palloc(p, two.len);
    memcpy(two.bytes, one.bytes, one.len);
    memcpy(two.bytes + one.len, one.bytes, one.len);
    return pki_wrap(BASIC, two, p);
}

static pki_der_t rewrap(pki_der_t der, apr_pool_t *p)
{
    return pki_wrap(BASIC, pki_unwrap(der, p), p);
}

static pki_der_t other_type(pki_der_t der, apr_pool_t *p)
{
    return pki_wrap(UNHEARD, pki_unwrap(der, p), p);
}

static pki_der_t empty_inner(pki_der_t der, apr_pool_t *p)
{
    der.len = 0;
    return pki_wrap(BASIC, der, p);
}

static pki_der_t nothing(pki_der_t der, apr_pool_t *p)
{
    (void)p;
    der.len = 0;
    return der;
}

static pki_der_t cut_to_status(pki_der_t der, apr_pool_t *p)
{
    (void)der;
    return pki_respond_status(OCSP_RESPONSE_STATUS_SUCCESSFUL, p);
}

typedef struct case_t {
    const char *name;
    staple_ocsp_reason_e reason;
    pki_response_t made;
    int status;     /* instead of made: a bare responseStatus */
    edit_fn *edit;
    int is_also_not_basic; /* for an OpenSSL that does not even parse it */
    staple_ocsp_subject_t **subject; /* NULL: ours */
    staple_ocsp_policy_t policy;
    /* what an accepted response must have been read to say */
    staple_ocsp_status_e says;
    staple_ocsp_hash_e by;
    int is_delegated;
} case_t;

#define CASE(r, n, ...) { .reason = STAPLE_OCSP_##r, .name = n, __VA_ARGS__ }
#define BY(...) .made = { .signer = __VA_ARGS__ }
#define SAY(...) .singles = { __VA_ARGS__ }
#define OUR .leaf = &leaf, .issuer = &ca, .next_update = NEXT
#define GOOD SAY({ OUR })
#define OLD .leaf = &leaf, .issuer = &ca, .this_update = "20261201000000Z", \
    .next_update = "20261208000000Z"
#define WITH(x) .included = { &x }
#define UNTIL(t) SAY({ .leaf = &leaf, .issuer = &ca, .next_update = t })
#define SINCE(t) SAY({ OUR, .this_update = t })
#define PRODUCED(t) GOOD, .produced_at = t
#define REVOKED .status = V_OCSP_CERTSTATUS_REVOKED
#define DELEGATED .is_delegated = 1
#define RSA SAY({ .leaf = &rsa_leaf, .issuer = &rsa_ca, .next_update = NEXT })
#define ED SAY({ .leaf = &ed_leaf, .issuer = &ed_ca, .next_update = NEXT })
#define OR_NOT_BASIC .is_also_not_basic = 1
#define AGE(a) .policy = { .max_age = a, .default_age = DAY, .skew = 300 * SEC }

static const case_t cases[] = {
    /* who signs */
    CASE(OK, "issuer, by name", BY(&ca, GOOD)),
    CASE(OK, "issuer, by key", BY(&ca, GOOD, .by_key = 1)),
    CASE(OK, "issuer, its certificate included", BY(&ca, GOOD, WITH(ca))),
    CASE(OK, "issuer was renewed", BY(&ca, GOOD), .subject = &with_renewed),
    CASE(OK, "issuer was renewed, by key", BY(&ca, GOOD, .by_key = 1),
         .subject = &with_renewed),
    CASE(OK, "issuer is cross-signed", BY(&ca, GOOD, WITH(ca)),
         .subject = &with_cross),
    CASE(OK, "issuer renewed, delegate older", BY(&delegate, GOOD,
         WITH(delegate)), .subject = &with_renewed, DELEGATED),
    CASE(OK, "delegate, by name", BY(&delegate, GOOD, WITH(delegate)),
         DELEGATED),
    CASE(OK, "delegate, by key", BY(&delegate, GOOD, WITH(delegate),
         .by_key = 1), DELEGATED),
    CASE(OK, "delegate without nocheck", BY(&unchecked, GOOD,
         WITH(unchecked)), DELEGATED),
    CASE(OK, "delegate with a critical nocheck", BY(&critical_no_check, GOOD,
         WITH(critical_no_check)), DELEGATED),
    CASE(OK, "delegate in its first second", BY(&begins_now, GOOD,
         WITH(begins_now)), DELEGATED),
    CASE(OK, "delegate in its last second", BY(&ends_now, GOOD,
         WITH(ends_now)), DELEGATED),
    CASE(OK, "delegate behind one of its name", BY(&delegate, GOOD,
         .included = { &twin, &of_other, &delegate }), DELEGATED),
    CASE(OK, "delegate behind an impostor's with its key", BY(&delegate, GOOD,
         .included = { &impostor_delegate, &delegate }, .by_key = 1),
         DELEGATED),
    CASE(NO_SIGNER, "delegate not included", BY(&delegate, GOOD)),
    CASE(NO_SIGNER, "delegate not included, by key", BY(&delegate, GOOD,
         .by_key = 1)),
    CASE(NO_SIGNER, "delegate not included, others are", BY(&delegate, GOOD,
         .included = { &ca, &no_eku })),
    CASE(BAD_SIGNATURE, "another's signature under the issuer's name",
         BY(&impostor, GOOD)),
    CASE(BAD_SIGNATURE, "another's signature under a delegate's name",
         BY(&delegate, GOOD, WITH(twin))),
    CASE(BAD_SIGNATURE, "one bit of the signature",
         BY(&ca, GOOD), .edit = bend_end),
    CASE(SIGNER_NOT_ISSUED, "a self-made CA of the issuer's name",
         BY(&impostor, GOOD, WITH(impostor))),
    CASE(SIGNER_NOT_ISSUED, "a self-made CA, by key",
         BY(&impostor, GOOD, WITH(impostor), .by_key = 1)),
    CASE(SIGNER_NOT_ISSUED, "a self-made signer of the issuer's name",
         BY(&of_itself, GOOD, WITH(of_itself))),
    CASE(SIGNER_NOT_ISSUED, "delegate of another CA",
         BY(&of_other, GOOD, .included = { &of_other, &other_ca })),
    CASE(SIGNER_NOT_ISSUED, "delegate of a self-made CA",
         BY(&of_impostor, GOOD, .included = { &of_impostor, &impostor })),
    CASE(SIGNER_NOT_ISSUED, "delegate of an intermediate",
         BY(&of_sub, GOOD, .included = { &of_sub, &sub })),
    CASE(SIGNER_NO_EKU, "delegate without extended key usage",
         BY(&no_eku, GOOD, WITH(no_eku))),
    CASE(SIGNER_NO_EKU, "delegate with any but the one",
         BY(&any_eku, GOOD, WITH(any_eku))),
    CASE(SIGNER_NO_EKU, "the certificate itself",
         BY(&other_leaf, GOOD, WITH(other_leaf))),
    CASE(SIGNER_NO_EKU, "delegate with an unheard-of critical extension",
         BY(&strange, GOOD, WITH(strange))),
    CASE(SIGNER_NOT_ISSUED, "delegate of the issuer's key by another name",
         BY(&of_renamed, GOOD, .included = { &of_renamed, &renamed })),
    CASE(SIGNER_NO_EKU, "delegate with a broken extension",
         BY(&broken, GOOD, WITH(broken))),
    CASE(SIGNER_NO_EKU, "an intermediate itself", BY(&sub, GOOD, WITH(sub))),
    CASE(SIGNER_EXPIRED, "delegate a second too late",
         BY(&expired, GOOD, WITH(expired))),
    CASE(SIGNER_NOT_YET, "delegate a second too early",
         BY(&not_yet, GOOD, WITH(not_yet))),

    /* how it is signed */
    CASE(OK, "RSA", BY(&rsa_ca, RSA), .subject = &with_rsa),
    CASE(OK, "RSA, delegate", BY(&rsa_delegate, RSA, WITH(rsa_delegate)),
         .subject = &with_rsa, DELEGATED),
    CASE(OK, "RSA-PSS", BY(&rsa_ca, RSA, .is_pss = 1), .subject = &with_rsa),
    CASE(OK, "RSA, SHA-384", BY(&rsa_ca, RSA, .digest = EVP_sha384),
         .subject = &with_rsa),
    CASE(OK, "Ed25519", BY(&ed_ca, ED), .subject = &with_ed),
    CASE(OK, "SHA-1 where OpenSSL lets it", BY(&rsa_ca, RSA,
         .digest = EVP_sha1), .subject = &with_rsa),
    CASE(WEAK_SIGNATURE, "MD5", BY(&rsa_ca, RSA, .digest = EVP_md5),
         .subject = &with_rsa),
    CASE(WEAK_SIGNATURE, "MD5 in RSA-PSS", BY(&rsa_ca, RSA, .is_pss = 1,
         .claimed_pss_digest = EVP_md5), .subject = &with_rsa),
    CASE(WEAK_SIGNATURE, "delegate issued with MD5", BY(&md5_delegate, RSA,
         WITH(md5_delegate)), .subject = &with_rsa),

    /* what it says */
    CASE(OK, "SHA-256 CertID", BY(&ca, SAY({ OUR, .hash = EVP_sha256 })),
         .by = STAPLE_OCSP_SHA256),
    CASE(OK, "unknown", BY(&ca, SAY({ OUR,
         .status = V_OCSP_CERTSTATUS_UNKNOWN })), .says = STAPLE_OCSP_UNKNOWN),
    CASE(OK, "revoked", BY(&ca, SAY({ OUR, REVOKED })),
         .says = STAPLE_OCSP_REVOKED),
    CASE(OK, "revoked for a reason", BY(&ca, SAY({ OUR, REVOKED,
         .has_crl_reason = 1, .crl_reason = 4 })), .says = STAPLE_OCSP_REVOKED),
    CASE(OK, "revoked, never issued", BY(&ca, SAY({ OUR, REVOKED,
         .has_crl_reason = 1, .crl_reason = 6,
         .revoked_at = "19700101000000Z" })), .says = STAPLE_OCSP_REVOKED),
    CASE(OK, "ours is the last of three", BY(&ca, SAY(
         { .leaf = &other_leaf, .issuer = &ca, REVOKED },
         { .leaf = &leaf, .issuer = &other_ca, REVOKED }, { OUR }))),
    CASE(OK, "ours is the first of two", BY(&ca, SAY({ OUR },
         { .leaf = &other_leaf, .issuer = &ca, REVOKED }))),
    CASE(OK, "in both hashes: SHA-1 is read", BY(&ca, SAY(
         { OUR, .hash = EVP_sha256 }, { OUR }))),
    CASE(OK, "twice the same", BY(&ca, SAY({ OUR }, { OUR }))),
    CASE(OK, "twice, signed at different times", BY(&ca, SAY({ OUR },
         { OUR, .this_update = "20270102000000Z" }))),
    CASE(EXPIRED, "current, then expired", BY(&ca, SAY({ OUR }, { OLD }))),
    CASE(EXPIRED, "expired, then current", BY(&ca, SAY({ OLD }, { OUR }))),
    CASE(EXPIRED, "current in one hash, expired in the other", BY(&ca, SAY(
         { OUR }, { OLD, .hash = EVP_sha256 }))),
    CASE(NOT_YET_VALID, "current, then not yet valid", BY(&ca, SAY({ OUR },
         { OUR, .this_update = "20270105000000Z" }))),
    CASE(BAD_TIMES, "with a broken time, then current", BY(&ca, SAY({ OUR,
         .this_update = "202612310000Z" }, { OUR })), OR_NOT_BASIC),
    CASE(BAD_TIMES, "current, then with a broken time", BY(&ca, SAY({ OUR },
         { OUR, .this_update = "202612310000Z" })), OR_NOT_BASIC),
    CASE(EXPIRED, "expired, twice", BY(&ca, SAY({ OLD }, { OLD }))),
    CASE(CONTRADICTS, "good, then revoked", BY(&ca, SAY({ OUR },
         { OUR, REVOKED }))),
    CASE(CONTRADICTS, "revoked, then good", BY(&ca, SAY({ OUR, REVOKED },
         { OUR }))),
    CASE(CONTRADICTS, "revoked in one hash, good in the other", BY(&ca, SAY(
         { OUR, REVOKED, .hash = EVP_sha256 }, { OUR }))),
    CASE(CONTRADICTS, "good, then unknown", BY(&ca, SAY({ OUR },
         { OUR, .status = V_OCSP_CERTSTATUS_UNKNOWN }))),
    CASE(CONTRADICTS, "expired good, current revoked", BY(&ca, SAY({ OLD },
         { OUR, REVOKED }))),
    CASE(CRITICAL_EXT, "a critical extension on the second answer", BY(&ca,
         SAY({ OUR }, { OUR, .critical = UNHEARD }))),
    CASE(OK, "a critical extension on another's answer", BY(&ca, SAY(
         { .leaf = &other_leaf, .issuer = &ca, .critical = UNHEARD },
         { OUR }))),
    CASE(OK, "extensions that are not critical", BY(&ca, SAY(
         { OUR, .plain = UNHEARD }), .plain = UNHEARD)),
    CASE(OK, "a nonce", BY(&ca, GOOD, .plain = NONCE)),
    CASE(OK, "a critical nonce", BY(&ca, GOOD, .critical = NONCE)),
    CASE(CRITICAL_EXT, "critical extension of the response",
         BY(&ca, GOOD, .critical = UNHEARD)),
    CASE(CRITICAL_EXT, "critical extension behind a nonce",
         BY(&ca, GOOD, .plain = NONCE, .critical = UNHEARD)),
    CASE(CRITICAL_EXT, "critical extension of our answer",
         BY(&ca, SAY({ OUR, .critical = UNHEARD }))),
    CASE(OTHER_CERT, "no answer at all", BY(&ca)),
    CASE(OTHER_CERT, "another serial", BY(&ca,
         SAY({ .leaf = &other_leaf, .issuer = &ca, .next_update = NEXT }))),
    CASE(OTHER_CERT, "another issuer's name", BY(&ca,
         SAY({ .leaf = &leaf, .issuer = &other_ca, .key_of = &ca }))),
    CASE(OTHER_CERT, "another issuer's key", BY(&ca,
         SAY({ .leaf = &leaf, .issuer = &ca, .key_of = &other_ca }))),
    CASE(OTHER_CERT, "another hash", BY(&ca, SAY({ OUR,
         .hash = EVP_sha384 }))),

    /* the bytes */
    CASE(OK, "put together by hand", BY(&ca, GOOD), .edit = rewrap),
    CASE(NOT_DER, "no bytes", BY(&ca, GOOD), .edit = nothing),
    CASE(NOT_DER, "the last byte is missing", BY(&ca, GOOD), .edit = cut_end),
    CASE(NOT_DER, "a length written too long", BY(&ca, GOOD),
         .edit = lengthen),
    CASE(NOT_DER, "an inner length written too long", BY(&ca, GOOD),
         .edit = lengthen_inner),
    CASE(NOT_DER, "a byte behind the basic response", BY(&ca, GOOD),
         .edit = append_inner),
    CASE(NOT_DER, "the basic response twice", BY(&ca, GOOD),
         .edit = double_inner),
    CASE(TRAILING, "a byte behind the end", BY(&ca, GOOD), .edit = append),
    CASE(NOT_BASIC, "another type", BY(&ca, GOOD), .edit = other_type),
    CASE(NOT_BASIC, "successful without bytes", BY(&ca, GOOD),
         .edit = cut_to_status),
    CASE(NOT_BASIC, "a basic response of no bytes", BY(&ca, GOOD),
         .edit = empty_inner),
    CASE(MALFORMED_REQUEST, "malformedRequest", .status = 1),
    CASE(INTERNAL_ERROR, "internalError", .status = 2),
    CASE(TRY_LATER, "tryLater", .status = 3),
    CASE(TRAILING, "tryLater and a byte", .status = 3, .edit = append),
    CASE(STATUS_OTHER, "status 4", .status = 4),
    CASE(SIG_REQUIRED, "sigRequired", .status = 5),
    CASE(UNAUTHORIZED, "unauthorized", .status = 6),
    CASE(STATUS_OTHER, "status 7", .status = 7),
    CASE(STATUS_OTHER, "status 127", .status = 127),
    CASE(STATUS_OTHER, "status 65536", .status = 65536),
    CASE(STATUS_OTHER, "status -1", .status = -1),

    /* the times */
    CASE(OK, "no nextUpdate, within the default age", BY(&ca, UNTIL(NULL)),
         .policy = { .max_age = -1, .default_age = 4 * DAY }),
    CASE(TOO_OLD, "no nextUpdate, default age reached", BY(&ca, UNTIL(NULL)),
         .policy = { .max_age = -1, .default_age = 3 * DAY }),
    CASE(OK, "no nextUpdate, within the greatest age", BY(&ca, UNTIL(NULL)),
         AGE(3 * DAY + 1)),
    CASE(TOO_OLD, "the greatest age reached", BY(&ca, GOOD), AGE(3 * DAY)),
    CASE(OK, "the greatest age as great as can be", BY(&ca, GOOD), AGE(MAX)),
    CASE(TOO_OLD, "the greatest age 0", BY(&ca, GOOD), AGE(0)),
    CASE(EXPIRED, "nextUpdate is now", BY(&ca, UNTIL("20270104000000Z"))),
    CASE(OK, "nextUpdate in a second", BY(&ca, UNTIL("20270104000001Z"))),
    CASE(EXPIRED, "thisUpdate is nextUpdate", BY(&ca, UNTIL(THIS))),
    CASE(OK, "the end of all times", BY(&ca, UNTIL("99991231235959Z"))),
    CASE(OK, "thisUpdate ahead by the skew",
         BY(&ca, SINCE("20270104000500Z"))),
    CASE(NOT_YET_VALID, "thisUpdate ahead by more",
         BY(&ca, SINCE("20270104000501Z"))),
    CASE(BAD_TIMES, "nextUpdate before thisUpdate",
         BY(&ca, UNTIL("20261231235959Z"))),
    CASE(BAD_TIMES, "nextUpdate before thisUpdate, both ahead", BY(&ca, SAY({
         .leaf = &leaf, .issuer = &ca, .this_update = "20280101000000Z",
         .next_update = "20270601000000Z" }))),
    CASE(BAD_TIMES, "nextUpdate is 1970", BY(&ca, UNTIL("19700101000000Z"))),
    CASE(BAD_TIMES, "thisUpdate is 1970", BY(&ca, SINCE("19700101000000Z"))),
    CASE(BAD_TIMES, "thisUpdate is 1969", BY(&ca, SINCE("19691231235959Z"))),
    CASE(BAD_TIMES, "thisUpdate is year 0", BY(&ca, SINCE("00000101000000Z"))),
    CASE(BAD_TIMES, "fraction of a second",
         BY(&ca, UNTIL("20270108000000.5Z"))),
    CASE(BAD_TIMES, "no seconds", BY(&ca, UNTIL("202701080000Z")),
         OR_NOT_BASIC),
    CASE(BAD_TIMES, "local time", BY(&ca, UNTIL("20270108000000")),
         OR_NOT_BASIC),
    CASE(BAD_TIMES, "an offset", BY(&ca, UNTIL("20270108000000+0100"))),
    CASE(BAD_TIMES, "an offset of fifteen characters",
         BY(&ca, UNTIL("2027010800+0100"))),
    CASE(BAD_TIMES, "a fraction of a minute, fifteen characters",
         BY(&ca, UNTIL("202701080000.5Z"))),
    CASE(BAD_TIMES, "a sign for the zone, fifteen characters",
         BY(&ca, UNTIL("20270108000000+"))),
    CASE(BAD_TIMES, "a space", BY(&ca, UNTIL("2027 108000000Z"))),
    CASE(BAD_TIMES, "a sign", BY(&ca, UNTIL("+0270108000000Z"))),
    CASE(BAD_TIMES, "UTCTime in disguise", BY(&ca, UNTIL("270108000000Z")),
         OR_NOT_BASIC),
    CASE(BAD_TIMES, "month 13", BY(&ca, UNTIL("20271308000000Z"))),
    CASE(BAD_TIMES, "February 29 of no leap year",
         BY(&ca, UNTIL("20270229000000Z"))),
    CASE(OK, "February 29 of a leap year", BY(&ca, UNTIL("20280229000000Z"))),
    CASE(BAD_TIMES, "hour 24", BY(&ca, UNTIL("20270108240000Z"))),
    CASE(BAD_TIMES, "a leap second", BY(&ca, UNTIL("20270630235960Z"))),
    CASE(BAD_TIMES, "an empty time", BY(&ca, UNTIL("")), OR_NOT_BASIC),
    CASE(BAD_TIMES, "letters", BY(&ca, UNTIL("2027010800000OZ"))),
    CASE(BAD_TIMES, "an odd thisUpdate",
         BY(&ca, SINCE("20270101000000.0Z"))),
    CASE(BAD_TIMES, "an odd producedAt",
         BY(&ca, PRODUCED("20270101000000+0000"))),
    CASE(BAD_TIMES, "an odd revocationTime", BY(&ca, SAY({ OUR, REVOKED,
         .revoked_at = "2027-01-01T00:00:00" }))),
    CASE(OK, "an odd time in another's answer", BY(&ca, SAY({ OUR },
         { .leaf = &other_leaf, .issuer = &ca,
           .this_update = "20270101000000+0000" }))),

    /* the times come last */
    CASE(SIGNER_NO_EKU, "expired and no delegate", BY(&no_eku,
         UNTIL("20270102000000Z"), WITH(no_eku))),
    CASE(BAD_SIGNATURE, "odd times and a bad signature",
         BY(&ca, UNTIL("20270108000000.5Z")), .edit = bend_end)
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const staple_ocsp_policy_t usual = {
    .skew = 300 * SEC, .max_age = -1, .default_age = DAY
};

static int is_possible(const case_t *c)
{
    const pki_response_t *made = &c->made;

    if (made->signer == &md5_delegate && !md5_delegate.cert) {
        return 0;
    }
    return !made->digest || pki_may_sign(made->digest, made->signer);
}

static pki_der_t make(const case_t *c, apr_pool_t *p)
{
    pki_der_t der = c->status ? pki_respond_status(c->status, p)
                              : pki_respond(&c->made, p);

    return c->edit ? c->edit(der, p) : der;
}

#define EDGE_ROOM ((apr_size_t)256 * 1024)

static unsigned char *edge;

static void build_edge(void)
{
    apr_size_t page = (apr_size_t)sysconf(_SC_PAGESIZE);
    unsigned char *room = mmap(NULL, EDGE_ROOM + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (room == MAP_FAILED
        || mprotect(room + EDGE_ROOM, page, PROT_NONE)) {
        abort();
    }
    edge = room + EDGE_ROOM;
}

static staple_ocsp_reason_e judge(staple_ocsp_verdict_t *v,
                                  const staple_ocsp_subject_t *subject,
                                  const staple_ocsp_policy_t *policy,
                                  const unsigned char *bytes, apr_size_t len)
{
    if (len) {
        memcpy(edge - len, bytes, len);
    }
    return staple_ocsp_judge(v, subject, policy, PAIR_NOW, edge - len, len);
}

static int is_as_said(const case_t *c, const staple_ocsp_verdict_t *v)
{
    int crl_reason = c->made.singles[0].has_crl_reason
                         ? c->made.singles[0].crl_reason : -1;
    int is_revoked = c->says == STAPLE_OCSP_REVOKED;
    int was_issued = !c->made.singles[0].revoked_at;

    return v->status == c->says && v->hash == c->by
           && v->is_delegated == c->is_delegated
           && (v->signer_until != 0) == c->is_delegated
           && v->crl_reason == crl_reason && v->produced_at > 0
           && v->this_update > 0
           && (v->revoked_at != 0) == (is_revoked && was_issued);
}

static int is_expected(const case_t *c, staple_ocsp_reason_e reason)
{
    return reason == c->reason
           || (c->is_also_not_basic && reason == STAPLE_OCSP_NOT_BASIC);
}

static void test_cases(int *seen, apr_pool_t *p)
{
    size_t i;

    for (i = 0; i < CASES; i++) {
        const case_t *c = &cases[i];
        const staple_ocsp_policy_t *policy =
            c->policy.default_age ? &c->policy : &usual;
        staple_ocsp_verdict_t v;
        staple_ocsp_reason_e reason;
        pki_der_t der;

        if (!is_possible(c)) {
            ok(1, "%s # SKIP OpenSSL does not sign with that", c->name);
            seen[c->reason] = 1;
            continue;
        }
        der = make(c, p);
        ERR_clear_error(); /* what the making left */
        reason = judge(&v, c->subject ? *c->subject : ours, policy,
                       der.bytes, der.len);
        if (!ok(is_expected(c, reason) && v.reason == reason
                && !ERR_peek_error()
                && (reason != STAPLE_OCSP_OK
                    || (is_as_said(c, &v)
                        && staple_ocsp_may_be_about(c->subject ? *c->subject
                                                               : ours,
                                                    der.bytes, der.len))),
                "%s: %s", c->name, staple_ocsp_reason_text(c->reason))) {
            diag("reason %d, expected %d; status %d, hash %d, delegated %d",
                 reason, c->reason, v.status, v.hash, v.is_delegated);
        }
        seen[reason] = 1;
    }
}

/* What is stapled of an error is what OpenSSL makes of its status. */
static void test_errors(void)
{
    static const int statuses[] = {
        OCSP_RESPONSE_STATUS_MALFORMEDREQUEST,
        OCSP_RESPONSE_STATUS_INTERNALERROR, OCSP_RESPONSE_STATUS_TRYLATER,
        OCSP_RESPONSE_STATUS_SIGREQUIRED, OCSP_RESPONSE_STATUS_UNAUTHORIZED
    };
    apr_size_t len;
    int i;

    for (i = 0; i < 5; i++) {
        OCSP_RESPONSE *response = OCSP_response_create(statuses[i], NULL);
        unsigned char *der = NULL;
        int der_len = i2d_OCSP_RESPONSE(response, &der);
        const unsigned char *error = staple_ocsp_error(
            (staple_ocsp_reason_e)(STAPLE_OCSP_MALFORMED_REQUEST + i), &len);

        ok(error && (apr_size_t)der_len == len && !memcmp(error, der, len),
           "the bytes of error %d", statuses[i]);
        OPENSSL_free(der);
        OCSP_RESPONSE_free(response);
    }
    ok(!staple_ocsp_error(STAPLE_OCSP_OK, &len)
       && !staple_ocsp_error(STAPLE_OCSP_STATUS_OTHER, &len)
       && !staple_ocsp_error(STAPLE_OCSP_TRAILING, &len), "no other error");
}

static void test_reasons(const int *seen)
{
    int i;

    for (i = 0; i < REASONS; i++) {
        ok(seen[i], "some response \"%s\"",
           staple_ocsp_reason_text((staple_ocsp_reason_e)i));
    }
    is_str(staple_ocsp_reason_text((staple_ocsp_reason_e)REASONS),
           "has failed for a reason that is not known", "no such reason");
    is_str(staple_ocsp_status_text(STAPLE_OCSP_REVOKED), "revoked", "revoked");
    test_errors();
    is_str(staple_ocsp_crl_reason_text(-1), "none given", "no CRLReason");
    is_str(staple_ocsp_crl_reason_text(1), "keyCompromise", "CRLReason 1");
    is_str(staple_ocsp_crl_reason_text(7), "not defined", "CRLReason 7");
    is_str(staple_ocsp_crl_reason_text(10), "aACompromise", "CRLReason 10");
    is_str(staple_ocsp_crl_reason_text(11), "not defined", "CRLReason 11");
    is_str(staple_ocsp_crl_reason_text(-2), "not defined", "CRLReason -2");
}

static void test_values(apr_pool_t *p)
{
    pki_response_t made = { .signer = &delegate, WITH(delegate),
        .produced_at = "20270101000001Z",
        SAY({ OUR, REVOKED, .revoked_at = "20261224120000Z" }) };
    pki_der_t der = pki_respond(&made, p);
    staple_ocsp_verdict_t v;

    judge(&v, ours, &usual, der.bytes, der.len);
    is_int(v.this_update, PAIR_NOW - 3 * DAY, "thisUpdate");
    is_int(v.next_update, PAIR_NOW + 4 * DAY, "nextUpdate");
    is_int(v.produced_at, PAIR_NOW - 3 * DAY + SEC, "producedAt");
    is_int(v.revoked_at, PAIR_NOW - 11 * DAY + DAY / 2, "revocationTime");
    is_int(v.signer_until, (apr_time_t)2398377600 * SEC, "delegate's notAfter");
    ok(staple_ocsp_may_be_about(ours, der.bytes, der.len),
       "it may be about its certificate");
    ok(!staple_ocsp_may_be_about(ours, der.bytes, 20),
       "its beginning is about none");
    made.signer = made.included[0] = &ends_now;
    der = pki_respond(&made, p);
    judge(&v, ours, &usual, der.bytes, der.len);
    is_int(v.next_update, v.signer_until,
           "the delegate ends before nextUpdate");
}

/* Of several answers for the certificate, the first to end counts, in whatever
 * order and by whatever hash; one without nextUpdate ends after default_age. */
static void test_several(apr_pool_t *p)
{
    static const struct {
        const char *this_update, *next_update; /* of the one by SHA-256 */
        apr_time_t from, until;                /* by now, of both */
        const char *name;
    } rows[] = {
        { NULL, NEXT, -3 * DAY, 4 * DAY, "the same" },
        { NULL, "20270106000000Z", -3 * DAY, 2 * DAY, "one that ends sooner" },
        { "20261231000000Z", "20270110000000Z", -4 * DAY, 4 * DAY,
          "one that is older and ends later" },
        { "20270102000000Z", "20270106000000Z", -3 * DAY, 2 * DAY,
          "one that is newer and ends sooner" },
        { "20270104000000Z", NULL, -3 * DAY, DAY, "one without an end" }
    };
    size_t i, order;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (order = 0; order < 2; order++) {
            pki_response_t made = { .signer = &ca };
            pki_single_t mine = { OUR }, other = { .leaf = &leaf,
                .issuer = &ca, .hash = EVP_sha256,
                .this_update = rows[i].this_update,
                .next_update = rows[i].next_update };
            staple_ocsp_verdict_t v;
            pki_der_t der;

            made.singles[order] = mine;
            made.singles[!order] = other;
            der = pki_respond(&made, p);
            ok(judge(&v, ours, &usual, der.bytes, der.len) == STAPLE_OCSP_OK
               && v.hash == STAPLE_OCSP_SHA1
               && v.this_update == PAIR_NOW + rows[i].from
               && v.next_update == PAIR_NOW + rows[i].until,
               "an answer, and %s: %d", rows[i].name, (int)order);
        }
    }
}

static int is_same_verdict(const staple_ocsp_verdict_t *a,
                           const staple_ocsp_verdict_t *b)
{
    return a->status == b->status && a->produced_at == b->produced_at
           && a->this_update == b->this_update
           && a->next_update == b->next_update
           && a->revoked_at == b->revoked_at
           && a->crl_reason == b->crl_reason && a->hash == b->hash
           && a->is_delegated == b->is_delegated
           && a->signer_until == b->signer_until;
}

/* Whatever bit is bent: either the response is refused, or it was in what
 * nobody signed and nobody reads, and all it says is as before. */
static void test_bent(const char *name, const pki_response_t *made,
                      const staple_ocsp_subject_t *subject, apr_pool_t *p)
{
    pki_der_t der = pki_respond(made, p);
    staple_ocsp_verdict_t before, v;
    apr_size_t at, refused = 0, harmless = 0, wrong = 0;
    int bit;

    judge(&before, subject, &usual, der.bytes, der.len);
    for (at = 0; at < der.len; at++) {
        for (bit = 0; bit < 8; bit++) {
            der.bytes[at] ^= (unsigned char)(1 << bit);
            if (judge(&v, subject, &usual, der.bytes, der.len)
                != STAPLE_OCSP_OK) {
                refused++;
            }
            else if (is_same_verdict(&before, &v)) {
                harmless++;
            }
            else {
                wrong++;
            }
            wrong += ERR_peek_error() != 0;
            der.bytes[at] ^= (unsigned char)(1 << bit);
        }
    }
    ok(before.reason == STAPLE_OCSP_OK && !wrong,
       "%s: no bent bit changes what is believed", name);
    diag("%s: %lu bytes, %lu bits refused, %lu harmless", name,
         (unsigned long)der.len, (unsigned long)refused,
         (unsigned long)harmless);
}

static void test_cut(const pki_response_t *made, apr_pool_t *p)
{
    pki_der_t der = pki_respond(made, p);
    staple_ocsp_verdict_t v;
    apr_size_t len, wrong = 0;

    for (len = 0; len < der.len; len++) {
        wrong += judge(&v, ours, &usual, der.bytes, len)
                 != STAPLE_OCSP_NOT_DER;
    }
    ok(!wrong, "cut short anywhere it is not DER");
}

static void test_windows(void)
{
    static const struct {
        const char *name;
        apr_interval_time_t skew, max_age, default_age;
        apr_time_t this_update, next_update, from, until;
    } rows[] = {
        { "plain", 5, -1, 50, 100, 200, 95, 200 },
        { "no skew", 0, -1, 50, 100, 200, 100, 200 },
        { "no nextUpdate", 5, -1, 50, 100, 0, 95, 150 },
        { "no nextUpdate, greatest age", 5, 70, 50, 100, 0, 95, 170 },
        { "greatest age first", 5, 70, 50, 100, 200, 95, 170 },
        { "nextUpdate first", 5, 170, 50, 100, 200, 95, 200 },
        { "never", 5, 0, 50, 100, 200, 95, 100 },
        { "endless age", 5, MAX, 50, 100, 200, 95, 200 },
        { "endless age, no nextUpdate", 5, MAX, 50, 100, 0, 95, MAX },
        { "endless default", 5, -1, MAX, 100, 0, 95, MAX },
        { "endless skew", MAX, -1, 50, 100, 200, -MAX + 100, 200 },
        { "endless skew before 1970", MAX, -1, 50, -100, 200, MIN, 200 },
        { "most negative skew", MIN, -1, 50, 100, 200, MAX, 200 },
        { "most negative default", 0, -1, MIN, -1, 0, -1, MIN },
        { "late", 5, 10, 50, MAX - 1, MAX, MAX - 6, MAX },
        { "late, no nextUpdate", 5, -1, 50, MAX - 1, 0, MAX - 6, MAX },
        { "early", 5, -1, 50, MIN + 1, MIN + 2, MIN, MIN + 2 }
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_ocsp_policy_t policy;
        apr_time_t from, until;

        policy.skew = rows[i].skew;
        policy.max_age = rows[i].max_age;
        policy.default_age = rows[i].default_age;
        staple_ocsp_window(&policy, rows[i].this_update, rows[i].next_update,
                           &from, &until);
        ok(from == rows[i].from && until == rows[i].until, "window: %s",
           rows[i].name);
    }
}

static void test_current(void)
{
    static const struct {
        apr_interval_time_t max_age;
        apr_time_t next_update, now;
        staple_ocsp_reason_e reason;
    } rows[] = {
        { -1, 200, MIN, STAPLE_OCSP_NOT_YET_VALID },
        { -1, 200, 94, STAPLE_OCSP_NOT_YET_VALID },
        { -1, 200, 95, STAPLE_OCSP_OK },
        { -1, 200, 199, STAPLE_OCSP_OK },
        { -1, 200, 200, STAPLE_OCSP_EXPIRED },
        { -1, 200, MAX, STAPLE_OCSP_EXPIRED },
        { 70, 200, 169, STAPLE_OCSP_OK },
        { 70, 200, 170, STAPLE_OCSP_TOO_OLD },
        { 70, 200, 200, STAPLE_OCSP_EXPIRED },
        { -1, 0, 149, STAPLE_OCSP_OK },
        { -1, 0, 150, STAPLE_OCSP_TOO_OLD },
        { 70, 0, 169, STAPLE_OCSP_OK },
        { 70, 0, 170, STAPLE_OCSP_TOO_OLD }
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_ocsp_policy_t policy;

        policy.skew = 5;
        policy.max_age = rows[i].max_age;
        policy.default_age = 50;
        ok(staple_ocsp_is_current(&policy, 100, rows[i].next_update,
                                  rows[i].now) == rows[i].reason,
           "from 100 to %d, at most %d, at %" APR_INT64_T_FMT ": %s",
           (int)rows[i].next_update, (int)rows[i].max_age, rows[i].now,
           staple_ocsp_reason_text(rows[i].reason));
    }
}

static void test_request(staple_ocsp_hash_e hash, const EVP_MD *md,
                         const char *name, apr_pool_t *p)
{
    const unsigned char *der = NULL, *again = NULL, *at;
    apr_size_t len = 0, len_again = 0;
    OCSP_CERTID *expected = OCSP_cert_to_id(md, leaf.cert, ca.cert);
    OCSP_REQUEST *req;

    is_int(staple_ocsp_request(ours, hash, &der, &len, p), APR_SUCCESS, name);
    staple_ocsp_request(ours, hash, &again, &len_again, p);
    ok(len == len_again && !memcmp(der, again, len), "%s: stable", name);
    at = der;
    req = d2i_OCSP_REQUEST(NULL, &at, (long)len);
    ok(req && at == der + len && OCSP_request_onereq_count(req) == 1
       && !OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, 0)),
                       expected), "%s: for our certificate", name);
    ok(req && OCSP_REQUEST_get_ext_count(req) == 0
       && !OCSP_request_is_signed(req), "%s: no extension, no signature",
       name);
    OCSP_REQUEST_free(req);
    OCSP_CERTID_free(expected);
}

/* What `openssl ocsp -no_nonce -reqout` writes for the pair. */
static void test_request_bytes(apr_pool_t *p)
{
    static const unsigned char expected[] = {
        0x30, 0x43, 0x30, 0x41, 0x30, 0x3f, 0x30, 0x3d, 0x30, 0x3b,
        0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05,
        0x00, 0x04, 0x14, 0xbf, 0x70, 0x52, 0xc8, 0xb9, 0xc0, 0xf7,
        0x60, 0xc8, 0x91, 0x23, 0xe0, 0x99, 0x81, 0x5e, 0xb2, 0xc0,
        0x39, 0x42, 0x26, 0x04, 0x14, 0x72, 0x37, 0xf9, 0xf3, 0xdc,
        0x57, 0xe2, 0x5b, 0xef, 0x9d, 0xac, 0x26, 0x07, 0xa0, 0x59,
        0x94, 0x88, 0xdd, 0xa1, 0x23, 0x02, 0x02, 0x12, 0x67
    };
    const unsigned char *der;
    apr_size_t len;

    staple_ocsp_request(ours, STAPLE_OCSP_SHA1, &der, &len, p);
    ok(len == sizeof(expected) && !memcmp(der, expected, len),
       "the request is the one OpenSSL's own tool makes");
}

static void test_try_later(void)
{
    staple_ocsp_verdict_t v;
    apr_size_t len;
    const unsigned char *der = staple_ocsp_error(STAPLE_OCSP_TRY_LATER, &len);

    is_int(judge(&v, ours, &usual, der, len), STAPLE_OCSP_TRY_LATER,
           "our tryLater is one");
}

/* Last of all: with these properties OpenSSL declines every algorithm, as it
 * declines SHA-1 on systems that are strict. */
static void test_declined(apr_pool_t *p)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    pki_response_t made = { .signer = &ca, GOOD };
    pki_der_t der = pki_respond(&made, p);
    staple_ocsp_verdict_t v;

    EVP_set_default_properties(NULL, "provider=nobody");
    is_int(judge(&v, ours, &usual, der.bytes, der.len),
           STAPLE_OCSP_WEAK_SIGNATURE, "a digest that OpenSSL declines");
    ok(!ERR_peek_error(), "and no error is left behind");
    EVP_set_default_properties(NULL, "");
#else
    (void)p;
    ok(1, "a digest that OpenSSL declines # SKIP before OpenSSL 3");
#endif
}

static void replay(const char *path, const char *name, apr_pool_t *p)
{
    static unsigned char bytes[64 * 1024];
    apr_size_t len = sizeof(bytes);
    staple_ocsp_verdict_t v;
    apr_file_t *file;
    int reason;

    if (apr_file_open(&file, path, APR_READ | APR_BINARY, 0, p)) {
        ok(0, "seed %s can be read", name);
        return;
    }
    if (apr_file_read_full(file, bytes, sizeof(bytes), &len) == APR_SUCCESS) {
        diag("%s is longer than a response may be", name);
    }
    apr_file_close(file);
    reason = (int)judge(&v, ours, &usual, bytes, len);
    if (name[0] >= '0' && name[0] <= '9' && name[2] == '-') {
        is_int(reason, atoi(name), name);
    }
    else {
        ok(reason < REASONS, "%s", name);
    }
}

static void test_corpus(apr_pool_t *p)
{
    const char *srcdir = getenv("STAPLE_SRCDIR");
    const char *path = apr_pstrcat(p, srcdir ? srcdir : ".",
                                   "/t/fuzz/corpus/ocsp", NULL);
    apr_finfo_t entry;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, path, p)) {
        ok(!srcdir, "the fuzzer's corpus at %s%s", path,
           srcdir ? "" : " # SKIP STAPLE_SRCDIR is not set");
        return;
    }
    while (!apr_dir_read(&entry, APR_FINFO_NAME, dir)) {
        if (entry.name[0] != '.') {
            replay(apr_pstrcat(p, path, "/", entry.name, NULL), entry.name,
                   p);
        }
    }
    apr_dir_close(dir);
}

/* The cases that an ordinary policy judges, for the pair. */
static int write_corpus(const char *path, apr_pool_t *p)
{
    size_t i;
    char *c;

    for (i = 0; i < CASES; i++) {
        char *name = apr_psprintf(p, "%02d-%s.der", cases[i].reason,
                                  cases[i].name);
        apr_file_t *file;
        pki_der_t der;

        if (cases[i].policy.default_age || cases[i].subject
            || cases[i].is_also_not_basic || !is_possible(&cases[i])) {
            continue;
        }
        for (c = name; *c; c++) {
            if (strchr(" ,:'", *c)) {
                *c = '_';
            }
        }
        der = make(&cases[i], p);
        if (apr_file_open(&file, apr_pstrcat(p, path, "/", name, NULL),
                          APR_WRITE | APR_CREATE | APR_TRUNCATE | APR_BINARY,
                          APR_OS_DEFAULT, p)
            || apr_file_write_full(file, der.bytes, der.len, NULL)) {
            fprintf(stderr, "cannot write %s/%s\n", path, name);
            return 1;
        }
        apr_file_close(file);
    }
    return 0;
}

static void test_all(apr_pool_t *p)
{
    static const pki_response_t by_issuer = { .signer = &ca, GOOD };
    static const pki_response_t by_delegate = {
        .signer = &delegate, GOOD, WITH(delegate), .plain = NONCE
    };
    static const pki_response_t by_rsa = { .signer = &rsa_ca, RSA };
    int seen[REASONS] = { 0 };

    test_cases(seen, p);
    test_reasons(seen);
    test_values(p);
    test_several(p);
    test_bent("issuer", &by_issuer, ours, p);
    test_bent("delegate", &by_delegate, ours, p);
    test_bent("RSA", &by_rsa, with_rsa, p);
    test_cut(&by_delegate, p);
    test_windows();
    test_current();
    test_request(STAPLE_OCSP_SHA1, EVP_sha1(), "SHA-1 request", p);
    test_request(STAPLE_OCSP_SHA256, EVP_sha256(), "SHA-256 request", p);
    test_request_bytes(p);
    test_try_later();
    test_corpus(p);
    test_declined(p);
}

int main(int argc, char *argv[])
{
    apr_pool_t *p;
    int rv = 0;

    apr_initialize();
    apr_pool_create(&p, NULL);
    build_edge();
    meet(p);
    if (argc == 3 && !strcmp(argv[1], "--corpus")) {
        rv = write_corpus(argv[2], p);
    }
    else {
        test_all(p);
        rv = tap_done();
    }
    apr_pool_destroy(p);
    apr_terminate();
    return rv;
}
