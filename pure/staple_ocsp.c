/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * OCSP as values. Bytes, a certificate and a moment go in; a verdict comes
 * out. What lives here is policy: which of the things that OpenSSL can parse
 * and verify we believe. What does not live here: sockets, files, the clock,
 * the log, and the question when to ask.
 *
 * The one idea is how trust is established. OCSP_basic_verify() could do it
 * in one call, but it builds a chain in an X509_STORE: it takes the time from
 * the system's clock unless the store says otherwise, believes whatever else
 * the store believes (a self-signed certificate with the name of the issuer,
 * say), and lets a delegate stand anywhere under a trusted root. RFC 6960
 * 4.2.2.2 knows but two signers: the issuer's own key, or a certificate which
 * that very key signed and which says id-kp-OCSPSigning. Both are two
 * certificates deep at most, so there is no path to build, and we check the
 * few edges ourselves:
 *
 *   the response is signed by the key of a candidate   signature_verdict()
 *   the candidate is the issuer, or signed by its key  delegate_verdict()
 *   a delegate may sign, and is valid at `now`         delegate_verdict()
 *
 * OpenSSL is asked for the first with OCSP_NOVERIFY and OCSP_NOINTERN, one
 * candidate in the stack: find it, check the signature with its key, stop.
 * The issuer comes from the server's own configuration and is the only thing
 * believed without proof. It counts by key and name, not by certificate, so
 * one that was renewed or cross-signed is the same issuer. What a certificate
 * says of its issuer's serial number (authorityKeyIdentifier) helps to build
 * paths and proves nothing, so it is not looked at.
 *
 * OpenSSL checks the signature over its own re-encoding of what it parsed. It
 * is therefore required that the re-encoding is what came in, to the byte:
 * only then is what was verified also what is served.
 */

#include "staple_ocsp.h"
#include "staple_magic.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>

#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define HASHES 2

/* A hash of a CertID: 20 or 32 bytes of it. */
typedef unsigned char digest_t[32];

/* By staple_ocsp_hash_e. */
static const struct {
    int nid;
    unsigned char len;
    unsigned char algorithm[15]; /* AlgorithmIdentifier, with NULL for its
                                    parameters as OpenSSL writes it */
    unsigned char algorithm_len;
} hashes[HASHES] = {
    { NID_sha1, 20, { 0x30, 9, 6, 5, 0x2b, 14, 3, 2, 26, 5, 0 }, 11 },
    { NID_sha256, 32,
      { 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0 }, 15 }
};

#define ISSUER_MAGIC 0x49535355u

struct staple_ocsp_issuer_t {
    staple_magic_t magic;
    unsigned char *der;
    apr_size_t len;
    X509_NAME *name;
    digest_t key[HASHES];     /* of the key's bits (RFC 6960 4.1.1) */
    _Atomic(X509 *) decoded;  /* with its key, once something was judged */
};

struct staple_ocsp_subject_t {
    staple_ocsp_issuer_t *issuer;
    digest_t name[HASHES]; /* of the issuer's name, as the leaf writes it */
    unsigned char serial[STAPLE_OCSP_SERIAL_MAX]; /* its magnitude */
    unsigned char serial_len;
    unsigned char is_negative;
};

static const char *const reason_texts[] = {
    "is good",
    "is not an OCSP response in DER",
    "is followed by bytes that do not belong to it",
    "is the error malformedRequest",
    "is the error internalError",
    "is the error tryLater",
    "is the error sigRequired",
    "is the error unauthorized",
    "is an error with a status that is not defined",
    "holds no basic OCSP response",
    "has a critical extension that is not known",
    "says nothing of this certificate",
    "is signed by a certificate that is not found, or by a key that OpenSSL "
        "does not know here",
    "is signed with an algorithm too weak to be believed",
    "has a signature that does not verify",
    "is signed by a certificate that the issuer did not sign",
    "is signed by a certificate that may not sign OCSP responses",
    "is signed by a certificate that has expired",
    "is signed by a certificate that is not valid yet",
    "has times that are missing, malformed or in the wrong order",
    "is not valid yet",
    "has expired",
    "is older than allowed",
    "says two things of this certificate that contradict each other"
};

_Static_assert(sizeof(reason_texts) / sizeof(reason_texts[0])
               == STAPLE_OCSP_CONTRADICTS + 1, "a text for every reason");

const char *staple_ocsp_reason_text(staple_ocsp_reason_e reason)
{
    size_t i = (size_t)reason;

    if (i >= sizeof(reason_texts) / sizeof(reason_texts[0])) {
        return "has failed for a reason that is not known";
    }
    return reason_texts[i];
}

const char *staple_ocsp_status_text(staple_ocsp_status_e status)
{
    switch (status) {
    case STAPLE_OCSP_GOOD:
        return "good";
    case STAPLE_OCSP_REVOKED:
        return "revoked";
    case STAPLE_OCSP_UNKNOWN:
    default:
        return "unknown";
    }
}

const char *staple_ocsp_crl_reason_text(int crl_reason)
{
    static const char *const texts[] = {
        "unspecified", "keyCompromise", "cACompromise",
        "affiliationChanged", "superseded", "cessationOfOperation",
        "certificateHold", NULL /* 7 is not used */, "removeFromCRL",
        "privilegeWithdrawn", "aACompromise"
    };

    if (crl_reason == -1) {
        return "none given";
    }
    if (crl_reason < 0
        || (size_t)crl_reason >= sizeof(texts) / sizeof(texts[0])
        || !texts[crl_reason]) {
        return "not defined";
    }
    return texts[crl_reason];
}

/* ----- who is asked about ----- */

static apr_status_t release_issuer(void *data)
{
    staple_ocsp_issuer_t *issuer = STAPLE_CAST(staple_ocsp_issuer_t,
                                               ISSUER_MAGIC, data);

    X509_free(atomic_load_explicit(&issuer->decoded, memory_order_acquire));
    X509_NAME_free(issuer->name);
    return APR_SUCCESS;
}

static int digest(const void *bytes, int len, digest_t *digests)
{
    return EVP_Digest(bytes, (size_t)len, digests[STAPLE_OCSP_SHA1], NULL,
                      EVP_sha1(), NULL)
           && EVP_Digest(bytes, (size_t)len, digests[STAPLE_OCSP_SHA256], NULL,
                         EVP_sha256(), NULL);
}

apr_status_t staple_ocsp_issuer_create(staple_ocsp_issuer_t **issuer,
                                       const unsigned char *der,
                                       apr_size_t len, apr_pool_t *p)
{
    staple_x509_t *x = staple_x509_read(der, len);
    staple_ocsp_issuer_t *made;
    const ASN1_BIT_STRING *key;
    int is_made;

    *issuer = NULL;
    if (!x) {
        ERR_clear_error();
        return APR_EINVAL;
    }
    made = apr_pcalloc(p, sizeof(*made));
    made->magic = ISSUER_MAGIC;
    made->der = apr_pmemdup(p, der, len);
    made->len = len;
    made->name = X509_NAME_dup(x->body->subject);
    apr_pool_cleanup_register(p, made, release_issuer, apr_pool_cleanup_null);
    key = x->body->key->bits;
    is_made = made->name && digest(ASN1_STRING_get0_data(key),
                                   ASN1_STRING_length(key), made->key);
    staple_x509_free(x);
    ERR_clear_error();
    if (!is_made) {
        apr_pool_cleanup_run(p, made, release_issuer);
        return APR_EINVAL;
    }
    *issuer = made;
    return APR_SUCCESS;
}

/* The issuer's certificate with its key. It is decoded when it is first wanted:
 * a server has many certificates of few issuers, and most of its processes
 * judge nothing. Of two threads that decode it at once, one keeps its own. */
static X509 *issuer_of(const staple_ocsp_subject_t *subject)
{
    staple_ocsp_issuer_t *issuer = subject->issuer;
    X509 *x = atomic_load_explicit(&issuer->decoded, memory_order_acquire);
    X509 *expected = NULL;
    const unsigned char *at = issuer->der;

    if (x) {
        return x;
    }
    x = d2i_X509(NULL, &at, (long)issuer->len);
    /* release: pairs with the acquire above; who sees the pointer sees what it
     * points to */
    if (x && !atomic_compare_exchange_strong_explicit(
            &issuer->decoded, &expected, x, memory_order_acq_rel,
            memory_order_acquire)) {
        X509_free(x);
        x = expected;
    }
    return x;
}

/* In OpenSSL 1.1.1, X509_NAME_get0_der takes a name that it may encode anew,
 * and so no const. */
static int digest_name(X509_NAME *name, digest_t *digests)
{
    const unsigned char *der;
    size_t len;

    return X509_NAME_get0_der(name, &der, &len)
           && digest(der, (int)len, digests);
}

apr_status_t staple_ocsp_subject_create(staple_ocsp_subject_t **subject,
                                        const staple_x509_t *leaf,
                                        staple_ocsp_issuer_t *issuer,
                                        apr_pool_t *p)
{
    const ASN1_INTEGER *serial = leaf->body->serial;
    int len = ASN1_STRING_length(serial);
    staple_ocsp_subject_t *made;

    *subject = NULL;
    if (len < 1 || len > STAPLE_OCSP_SERIAL_MAX
        || X509_NAME_cmp(leaf->body->issuer, issuer->name)) {
        return APR_EINVAL;
    }
    made = apr_pcalloc(p, sizeof(*made));
    made->issuer = issuer;
    memcpy(made->serial, ASN1_STRING_get0_data(serial), (size_t)len);
    made->serial_len = (unsigned char)len;
    made->is_negative = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;
    if (!digest_name(leaf->body->issuer, made->name)) {
        ERR_clear_error();
        return APR_EINVAL;
    }
    *subject = made;
    return APR_SUCCESS;
}

/* ----- a request ----- */

/* Every part of our requests is shorter than this, so each length is one byte
 * (X.690 8.1.3.4), and what is written backwards ends at a known place. */
#define REQUEST_MAX 127

typedef struct writer_t {
    unsigned char bytes[REQUEST_MAX];
    int at; /* where what is written begins */
} writer_t;

static void write_bytes(writer_t *writer, const unsigned char *bytes, int len)
{
    writer->at -= len;
    memcpy(writer->bytes + writer->at, bytes, (size_t)len);
}

/* Tag and length before what was written since `end`. */
static void write_header(writer_t *writer, int tag, int end)
{
    unsigned char header[2];

    header[0] = (unsigned char)tag;
    header[1] = (unsigned char)(end - writer->at);
    write_bytes(writer, header, 2);
}

static void write_octets(writer_t *writer, const unsigned char *bytes, int len)
{
    int end = writer->at;

    write_bytes(writer, bytes, len);
    write_header(writer, V_ASN1_OCTET_STRING, end);
}

/* An INTEGER from its magnitude, which is given without leading zeros, in
 * two's complement (X.690 8.3). */
static void write_serial(writer_t *writer, const staple_ocsp_subject_t *subject)
{
    unsigned char bytes[STAPLE_OCSP_SERIAL_MAX + 1] = { 0 };
    int i, carry = 1, end = writer->at, len = subject->serial_len, from;

    memcpy(bytes + 1, subject->serial, (size_t)len);
    for (i = len; subject->is_negative && i >= 0; i--) {
        carry += (unsigned char)~bytes[i];
        bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
    from = (bytes[0] & 0x80) == (bytes[1] & 0x80);
    write_bytes(writer, bytes + from, len + 1 - from);
    write_header(writer, V_ASN1_INTEGER, end);
}

/* A negative number is written in another way, which is not worth a search. */
int staple_ocsp_may_be_about(const staple_ocsp_subject_t *subject,
                             const unsigned char *der, apr_size_t len)
{
    const unsigned char *at = der, *end = der + len;
    apr_size_t size = subject->serial_len;

    if (subject->is_negative || !size) {
        return 1;
    }
    while ((apr_size_t)(end - at) >= size
           && (at = memchr(at, subject->serial[0],
                           (apr_size_t)(end - at) - size + 1)) != NULL) {
        if (!memcmp(at, subject->serial, size)) {
            return 1;
        }
        at++;
    }
    return 0;
}

apr_status_t staple_ocsp_request(const staple_ocsp_subject_t *subject,
                                 staple_ocsp_hash_e hash,
                                 const unsigned char **der, apr_size_t *len,
                                 apr_pool_t *p)
{
    const unsigned char sequence = V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED;
    writer_t writer = { .at = REQUEST_MAX };
    int i;

    write_serial(&writer, subject);
    write_octets(&writer, subject->issuer->key[hash], hashes[hash].len);
    write_octets(&writer, subject->name[hash], hashes[hash].len);
    write_bytes(&writer, hashes[hash].algorithm, hashes[hash].algorithm_len);
    /* CertID, Request, requestList, TBSRequest, OCSPRequest */
    for (i = 0; i < 5; i++) {
        write_header(&writer, sequence, REQUEST_MAX);
    }
    *len = (apr_size_t)(REQUEST_MAX - writer.at);
    *der = apr_pmemdup(p, writer.bytes + writer.at, *len);
    return APR_SUCCESS;
}

const unsigned char *staple_ocsp_error(staple_ocsp_reason_e reason,
                                       apr_size_t *len)
{
    /* SEQUENCE { ENUMERATED status } */
    static const unsigned char errors[][5] = {
        { 0x30, 0x03, 0x0a, 0x01, 1 }, { 0x30, 0x03, 0x0a, 0x01, 2 },
        { 0x30, 0x03, 0x0a, 0x01, 3 }, { 0x30, 0x03, 0x0a, 0x01, 5 },
        { 0x30, 0x03, 0x0a, 0x01, 6 }
    };

    *len = sizeof(errors[0]);
    return reason >= STAPLE_OCSP_MALFORMED_REQUEST
           && reason <= STAPLE_OCSP_UNAUTHORIZED
           ? errors[reason - STAPLE_OCSP_MALFORMED_REQUEST] : NULL;
}

/* Sums that stop at the ends of apr_time_t: an administrator may write any
 * span, and a span must never turn the future into the past. */
static apr_time_t add_span(apr_time_t t, apr_interval_time_t span)
{
    if (span > 0 && t > APR_INT64_MAX - span) {
        return APR_INT64_MAX;
    }
    if (span < 0 && t < APR_INT64_MIN - span) {
        return APR_INT64_MIN;
    }
    return t + span;
}

static apr_time_t subtract_span(apr_time_t t, apr_interval_time_t span)
{
    return add_span(t, span == APR_INT64_MIN ? APR_INT64_MAX : -span);
}

void staple_ocsp_window(const staple_ocsp_policy_t *policy,
                        apr_time_t this_update, apr_time_t next_update,
                        apr_time_t *from, apr_time_t *until)
{
    *from = subtract_span(this_update, policy->skew);
    *until = next_update ? next_update
                         : add_span(this_update, policy->default_age);
    if (policy->max_age >= 0) {
        apr_time_t oldest = add_span(this_update, policy->max_age);

        if (!next_update || oldest < *until) {
            *until = oldest;
        }
    }
}

staple_ocsp_reason_e staple_ocsp_is_current(const staple_ocsp_policy_t *policy,
                                            apr_time_t this_update,
                                            apr_time_t next_update,
                                            apr_time_t now)
{
    apr_time_t from, until;

    staple_ocsp_window(policy, this_update, next_update, &from, &until);
    if (now < from) {
        return STAPLE_OCSP_NOT_YET_VALID;
    }
    if (next_update && now >= next_update) {
        return STAPLE_OCSP_EXPIRED;
    }
    return now < until ? STAPLE_OCSP_OK : STAPLE_OCSP_TOO_OLD;
}

int staple_ocsp_read_time(const ASN1_TIME *text, apr_time_t *result)
{
    struct tm tm;
    apr_time_exp_t parts;

    if (!text || !ASN1_TIME_to_tm(text, &tm)) {
        return 0;
    }
    memset(&parts, 0, sizeof(parts));
    parts.tm_year = tm.tm_year;
    parts.tm_mon = tm.tm_mon;
    parts.tm_mday = tm.tm_mday;
    parts.tm_hour = tm.tm_hour;
    parts.tm_min = tm.tm_min;
    parts.tm_sec = tm.tm_sec;
    return apr_time_exp_get(result, &parts) == APR_SUCCESS;
}

/* A time of a response: YYYYMMDDHHMMSSZ and nothing else (RFC 5280 4.1.2.5.2,
 * by way of RFC 6960 4.2.2.1), as clients disagree about the other forms. Of
 * those that OpenSSL can read, this one alone has fifteen characters. */
static int read_ocsp_time(const ASN1_GENERALIZEDTIME *text, apr_time_t *result)
{
    return text && ASN1_STRING_length(text) == 15
           && staple_ocsp_read_time(text, result);
}

/* Whether der is the one DER encoding of a successful response around basic:
 * no other form of a length or a number, nothing behind the inner sequence. */
static int is_canonical(OCSP_BASICRESP *basic, const unsigned char *der,
                        apr_size_t len)
{
    OCSP_RESPONSE *again =
        OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *bytes = NULL;
    int n = again ? i2d_OCSP_RESPONSE(again, &bytes) : -1;
    int is_same = n > 0 && (apr_size_t)n == len && !memcmp(bytes, der, len);

    OPENSSL_free(bytes);
    OCSP_RESPONSE_free(again);
    return is_same;
}

/* The responseStatus (RFC 6960 4.2.1) as a reason. */
static staple_ocsp_reason_e response_status(OCSP_RESPONSE *response)
{
    switch (OCSP_response_status(response)) {
    case OCSP_RESPONSE_STATUS_SUCCESSFUL:
        return STAPLE_OCSP_OK;
    case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
        return STAPLE_OCSP_MALFORMED_REQUEST;
    case OCSP_RESPONSE_STATUS_INTERNALERROR:
        return STAPLE_OCSP_INTERNAL_ERROR;
    case OCSP_RESPONSE_STATUS_TRYLATER:
        return STAPLE_OCSP_TRY_LATER;
    case OCSP_RESPONSE_STATUS_SIGREQUIRED:
        return STAPLE_OCSP_SIG_REQUIRED;
    case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
        return STAPLE_OCSP_UNAUTHORIZED;
    default:
        return STAPLE_OCSP_STATUS_OTHER;
    }
}

/* *basic is the caller's to free, whatever the reason. */
static staple_ocsp_reason_e parse(OCSP_BASICRESP **basic,
                                  const unsigned char *der, apr_size_t len)
{
    const unsigned char *end = der;
    OCSP_RESPONSE *response;
    staple_ocsp_reason_e reason;

    if (!der || len > INT_MAX) {
        return STAPLE_OCSP_NOT_DER;
    }
    response = d2i_OCSP_RESPONSE(NULL, &end, (long)len);
    if (!response) {
        return STAPLE_OCSP_NOT_DER;
    }
    reason = end == der + len ? response_status(response)
                              : STAPLE_OCSP_TRAILING;
    if (reason == STAPLE_OCSP_OK) {
        *basic = OCSP_response_get1_basic(response);
        if (!*basic) {
            reason = STAPLE_OCSP_NOT_BASIC;
        }
        else if (!is_canonical(*basic, der, len)) {
            reason = STAPLE_OCSP_NOT_DER;
        }
    }
    OCSP_RESPONSE_free(response);
    return reason;
}

/* The nonce (RFC 9654) may be critical: we sent none, so it says nothing. */
static int has_unknown_critical(OCSP_BASICRESP *basic)
{
    int i = -1;

    while ((i = OCSP_BASICRESP_get_ext_by_critical(basic, 1, i)) >= 0) {
        if (OBJ_obj2nid(X509_EXTENSION_get_object(
                            OCSP_BASICRESP_get_ext(basic, i)))
            != NID_id_pkix_OCSP_Nonce) {
            return 1;
        }
    }
    return 0;
}

static int is_equal(const ASN1_STRING *string, const unsigned char *bytes,
                    int len)
{
    return ASN1_STRING_length(string) == len
           && !memcmp(ASN1_STRING_get0_data(string), bytes, (size_t)len);
}

/* Whether an answer is about our certificate, by either hash. */
static int is_ours(OCSP_SINGLERESP *single,
                   const staple_ocsp_subject_t *subject,
                   staple_ocsp_hash_e *hash)
{
    ASN1_OBJECT *algorithm;
    ASN1_OCTET_STRING *name, *key;
    ASN1_INTEGER *serial;
    int is_sha1;

    OCSP_id_get0_info(&name, &algorithm, &key, &serial,
                      (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
    is_sha1 = OBJ_obj2nid(algorithm) == hashes[STAPLE_OCSP_SHA1].nid;
    *hash = is_sha1 ? STAPLE_OCSP_SHA1 : STAPLE_OCSP_SHA256;
    return OBJ_obj2nid(algorithm) == hashes[*hash].nid
           && is_equal(serial, subject->serial, subject->serial_len)
           && (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
              == subject->is_negative
           && is_equal(name, subject->name[*hash], hashes[*hash].len)
           && is_equal(key, subject->issuer->key[*hash], hashes[*hash].len);
}

static void clear_verdict(staple_ocsp_verdict_t *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    verdict->status = STAPLE_OCSP_UNKNOWN;
    verdict->crl_reason = -1;
}

/* Fill in status and times; returns whether all times that must be there are
 * there and well-formed. A revocationTime of 1970-01-01 is right for a
 * certificate that was never issued (RFC 6960 2.2); elsewhere 0 stands for
 * "none given" with us, so that moment is refused. */
static int read_single(staple_ocsp_verdict_t *verdict, OCSP_BASICRESP *basic,
                       OCSP_SINGLERESP *single)
{
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL;
    ASN1_GENERALIZEDTIME *next_update = NULL;
    int status, crl_reason = -1;
    int is_sound;

    status = OCSP_single_get0_status(single, &crl_reason, &revoked,
                                     &this_update, &next_update);
    is_sound = read_ocsp_time(OCSP_resp_get0_produced_at(basic),
                              &verdict->produced_at)
               && read_ocsp_time(this_update, &verdict->this_update)
               && verdict->this_update > 0;
    if (next_update) {
        is_sound = read_ocsp_time(next_update, &verdict->next_update)
                   && verdict->next_update >= verdict->this_update
                   && is_sound;
    }
    if (status == V_OCSP_CERTSTATUS_REVOKED) {
        verdict->status = STAPLE_OCSP_REVOKED;
        verdict->crl_reason = crl_reason;
        is_sound = read_ocsp_time(revoked, &verdict->revoked_at) && is_sound;
    }
    else if (status == V_OCSP_CERTSTATUS_GOOD) {
        verdict->status = STAPLE_OCSP_GOOD;
    }
    return is_sound;
}

/* The digest of a signature algorithm; NID_undef where it has none of its own
 * (Ed25519) or is not known, in which case it will not verify either. */
static int signature_digest(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *oid, *digest_oid;
    const void *value;
    int type, nid, digest = NID_undef;
    RSA_PSS_PARAMS *pss;

    X509_ALGOR_get0(&oid, &type, &value, algorithm);
    nid = OBJ_obj2nid(oid);
    if (nid != NID_rsassaPss) {
        return OBJ_find_sigid_algs(nid, &digest, NULL) ? digest : NID_undef;
    }
    if (type != V_ASN1_SEQUENCE
        || !(pss = ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS)))) {
        return NID_undef;
    }
    digest = NID_sha1; /* the default (RFC 4055 3.1) */
    if (pss->hashAlgorithm) {
        X509_ALGOR_get0(&digest_oid, NULL, NULL, pss->hashAlgorithm);
        digest = OBJ_obj2nid(digest_oid);
    }
    RSA_PSS_PARAMS_free(pss);
    return digest;
}

/* Digests for which anyone can make collisions, whatever OpenSSL allows. */
static int is_broken_digest(int nid)
{
    switch (nid) {
    case NID_md2:
    case NID_md4:
    case NID_md5:
    case NID_mdc2:
    case NID_sha:
        return 1;
    default:
        return 0;
    }
}

/* Whether this OpenSSL, as it is configured, will not verify signatures with
 * that digest at all: SHA-1 under some systems' policies, or FIPS. */
static int is_refused_digest(int nid, EVP_PKEY *key)
{
    const EVP_MD *digest = nid == NID_undef ? NULL : EVP_get_digestbynid(nid);
    EVP_MD_CTX *ctx;
    int is_refused;

    if (!digest || !key || !(ctx = EVP_MD_CTX_new())) {
        return 0;
    }
    is_refused = EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) <= 0;
    EVP_MD_CTX_free(ctx);
    return is_refused;
}

/* Why a signature that did not verify did not. */
static staple_ocsp_reason_e failed(int digest, EVP_PKEY *key,
                                   staple_ocsp_reason_e otherwise)
{
    return is_refused_digest(digest, key) ? STAPLE_OCSP_WEAK_SIGNATURE
                                          : otherwise;
}

/* Whether cert is whom the ResponderID means (RFC 6960 4.2.2.3). */
static int is_responder(OCSP_BASICRESP *basic, X509 *cert)
{
    const ASN1_OCTET_STRING *key_hash = NULL;
    const X509_NAME *name = NULL;
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (!OCSP_resp_get0_id(basic, &key_hash, &name)) {
        return 0;
    }
    if (name) {
        return !X509_NAME_cmp(X509_get_subject_name(cert), name);
    }
    return X509_pubkey_digest(cert, EVP_sha1(), md, &len)
           && ASN1_STRING_length(key_hash) == (int)len
           && !memcmp(ASN1_STRING_get0_data(key_hash), md, len);
}

/* Whether the key of signer, whom the ResponderID means, made the signature
 * of the response. See the top of this file for the flags. */
static staple_ocsp_reason_e signature_verdict(OCSP_BASICRESP *basic,
                                              X509 *signer)
{
    int digest = signature_digest(OCSP_resp_get0_tbs_sigalg(basic));
    STACK_OF(X509) *only;
    int is_verified;

    if (is_broken_digest(digest)) {
        return STAPLE_OCSP_WEAK_SIGNATURE;
    }
    only = sk_X509_new_null();
    is_verified = only && sk_X509_push(only, signer)
                  && OCSP_basic_verify(basic, only, NULL,
                                       OCSP_NOVERIFY | OCSP_NOINTERN) == 1;
    sk_X509_free(only);
    return is_verified ? STAPLE_OCSP_OK
                       : failed(digest, X509_get0_pubkey(signer),
                                STAPLE_OCSP_BAD_SIGNATURE);
}

/* Whether the issuer's key signed cert, and says so by name. */
static staple_ocsp_reason_e issue_verdict(const staple_ocsp_subject_t *subject,
                                          X509 *cert)
{
    const X509_ALGOR *algorithm;
    int digest;

    if (X509_NAME_cmp(X509_get_issuer_name(cert),
                      subject->issuer->name)) {
        return STAPLE_OCSP_SIGNER_NOT_ISSUED;
    }
    X509_get0_signature(NULL, &algorithm, cert);
    digest = signature_digest(algorithm);
    if (is_broken_digest(digest)) {
        return STAPLE_OCSP_WEAK_SIGNATURE;
    }
    return X509_verify(cert, X509_get0_pubkey(issuer_of(subject))) == 1
               ? STAPLE_OCSP_OK
               : failed(digest, X509_get0_pubkey(issuer_of(subject)),
                        STAPLE_OCSP_SIGNER_NOT_ISSUED);
}

/* id-kp-OCSPSigning itself (anyExtendedKeyUsage is no substitute, RFC 6960
 * 4.2.2.2), no extension that is broken, and none that is critical and not
 * understood. ocsp-nocheck is understood: nobody asks about a delegate here,
 * with it or without. */
static int may_sign_ocsp(X509 *cert)
{
    uint32_t flags = X509_get_extension_flags(cert);
    int i = -1;

    if ((flags & EXFLAG_INVALID) || !(flags & EXFLAG_XKUSAGE)
        || !(X509_get_extended_key_usage(cert) & XKU_OCSP_SIGN)) {
        return 0;
    }
    while ((i = X509_get_ext_by_critical(cert, 1, i)) >= 0) {
        if (!X509_supported_extension(X509_get_ext(cert, i))
            && OBJ_obj2nid(X509_EXTENSION_get_object(X509_get_ext(cert, i)))
               != NID_id_pkix_OCSP_noCheck) {
            return 0;
        }
    }
    return 1;
}

/* Whether a certificate other than the issuer's may sign for the issuer. */
static staple_ocsp_reason_e delegate_verdict(
    const staple_ocsp_subject_t *subject, X509 *cert, apr_time_t now,
    apr_time_t *until)
{
    staple_ocsp_reason_e reason = issue_verdict(subject, cert);
    apr_time_t from;

    if (reason != STAPLE_OCSP_OK) {
        return reason;
    }
    if (!may_sign_ocsp(cert)) {
        return STAPLE_OCSP_SIGNER_NO_EKU;
    }
    /* notAfter belongs to the validity (RFC 5280 4.1.2.5), to the second */
    if (!staple_ocsp_read_time(X509_get0_notAfter(cert), until)
        || now >= *until + APR_USEC_PER_SEC) {
        return STAPLE_OCSP_SIGNER_EXPIRED;
    }
    if (!staple_ocsp_read_time(X509_get0_notBefore(cert), &from)
        || now < from) {
        return STAPLE_OCSP_SIGNER_NOT_YET;
    }
    return STAPLE_OCSP_OK;
}

/*
 * Look for the signer: the issuer, or one of the included certificates. There
 * may be several of the same name, as when a delegate is being renewed, so
 * one that fails does not end the search. Where all fail, the reason is that
 * of the one who came furthest, which is the greatest as they are ordered.
 */
static staple_ocsp_reason_e find_signer(staple_ocsp_verdict_t *verdict,
                                        OCSP_BASICRESP *basic,
                                        const staple_ocsp_subject_t *subject,
                                        apr_time_t now)
{
    const STACK_OF(X509) *included = OCSP_resp_get0_certs(basic);
    X509 *issuer = issuer_of(subject);
    staple_ocsp_reason_e reason, furthest = STAPLE_OCSP_NO_SIGNER;
    apr_time_t until;
    int i;

    if (!issuer || !X509_get0_pubkey(issuer)) {
        return STAPLE_OCSP_NO_SIGNER;
    }
    if (is_responder(basic, issuer)) {
        furthest = signature_verdict(basic, issuer);
        if (furthest == STAPLE_OCSP_OK) {
            return STAPLE_OCSP_OK;
        }
    }
    for (i = 0; i < sk_X509_num(included); i++) {
        X509 *cert = sk_X509_value(included, i);

        if (!is_responder(basic, cert)) {
            continue;
        }
        reason = signature_verdict(basic, cert);
        if (reason == STAPLE_OCSP_OK) {
            verdict->is_delegated = 1;
            reason = delegate_verdict(subject, cert, now, &until);
        }
        if (reason == STAPLE_OCSP_OK) {
            verdict->signer_until = until;
            return STAPLE_OCSP_OK;
        }
        if (reason > furthest) {
            furthest = reason;
        }
    }
    return furthest;
}

/* An answer for our certificate: what it says, and what its times are worth. */
typedef struct answer_t {
    staple_ocsp_verdict_t verdict;
    staple_ocsp_reason_e times; /* OK, BAD_TIMES, or why it is not current */
} answer_t;

static answer_t read_answer(OCSP_BASICRESP *basic, OCSP_SINGLERESP *single,
                            const staple_ocsp_policy_t *policy, apr_time_t now)
{
    answer_t answer;

    clear_verdict(&answer.verdict);
    answer.times = read_single(&answer.verdict, basic, single)
                   ? staple_ocsp_is_current(policy, answer.verdict.this_update,
                                            answer.verdict.next_update, now)
                   : STAPLE_OCSP_BAD_TIMES;
    return answer;
}

static apr_time_t lesser(apr_time_t a, apr_time_t b)
{
    return a < b ? a : b;
}

/* Its nextUpdate, or until when it may be served without one. */
static apr_time_t end_of(const staple_ocsp_policy_t *policy,
                         const staple_ocsp_verdict_t *verdict)
{
    apr_time_t from, until;

    if (verdict->next_update) {
        return verdict->next_update;
    }
    staple_ocsp_window(policy, verdict->this_update, 0, &from, &until);
    return until;
}

/* Take another answer that says the same into account: the one that is not
 * current, or else the older thisUpdate and the sooner end. */
static void take_worse(answer_t *worst, const answer_t *other,
                       const staple_ocsp_policy_t *policy)
{
    staple_ocsp_verdict_t *kept = &worst->verdict;
    const staple_ocsp_verdict_t *read = &other->verdict;

    if (other->times != STAPLE_OCSP_OK) {
        *worst = *other;
        return;
    }
    if (kept->next_update || read->next_update) {
        kept->next_update = lesser(end_of(policy, kept), end_of(policy, read));
    }
    kept->this_update = lesser(kept->this_update, read->this_update);
    if (read->hash < kept->hash) {
        kept->hash = read->hash;
    }
}

/*
 * Read all answers for our certificate. Clients differ in which of several they
 * go by: OpenSSL takes the first by the CertID's hash that it asks for, GnuTLS
 * the first of all, Firefox and Java refuse the connection if one has expired.
 * Each would refuse some mixture of current and expired, so all answers have
 * to say the same and to be current. A responder that answers by SHA-1 and by
 * SHA-256 at once signs both at the same moment, so it loses nothing.
 */
static staple_ocsp_reason_e read_answers(answer_t *worst, OCSP_BASICRESP *basic,
                                         const staple_ocsp_subject_t *subject,
                                         const staple_ocsp_policy_t *policy,
                                         apr_time_t now)
{
    staple_ocsp_reason_e reason = STAPLE_OCSP_OTHER_CERT;
    staple_ocsp_hash_e hash;
    answer_t answer;
    int i;

    for (i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);

        if (!is_ours(single, subject, &hash)) {
            continue;
        }
        /* no extension of a single response has a meaning we act upon */
        if (OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0) {
            return STAPLE_OCSP_CRITICAL_EXT;
        }
        answer = read_answer(basic, single, policy, now);
        answer.verdict.hash = hash;
        if (reason == STAPLE_OCSP_OK
            && answer.verdict.status != worst->verdict.status) {
            return STAPLE_OCSP_CONTRADICTS;
        }
        if (reason != STAPLE_OCSP_OK) {
            *worst = answer;
        }
        else if (worst->times == STAPLE_OCSP_OK) {
            take_worse(worst, &answer, policy);
        }
        reason = STAPLE_OCSP_OK;
    }
    return reason;
}

static staple_ocsp_reason_e judge_basic(staple_ocsp_verdict_t *verdict,
                                        OCSP_BASICRESP *basic,
                                        const staple_ocsp_subject_t *subject,
                                        const staple_ocsp_policy_t *policy,
                                        apr_time_t now)
{
    answer_t answer = { .times = STAPLE_OCSP_BAD_TIMES };
    staple_ocsp_reason_e reason;

    if (has_unknown_critical(basic)) {
        return STAPLE_OCSP_CRITICAL_EXT;
    }
    reason = read_answers(&answer, basic, subject, policy, now);
    if (reason != STAPLE_OCSP_OK) {
        return reason;
    }
    *verdict = answer.verdict;
    reason = find_signer(verdict, basic, subject, now);
    if (reason != STAPLE_OCSP_OK) {
        return reason;
    }
    if (verdict->signer_until
        && (!verdict->next_update
            || verdict->signer_until < verdict->next_update)) {
        verdict->next_update = verdict->signer_until;
    }
    return answer.times;
}

staple_ocsp_reason_e staple_ocsp_judge(staple_ocsp_verdict_t *verdict,
                                       const staple_ocsp_subject_t *subject,
                                       const staple_ocsp_policy_t *policy,
                                       apr_time_t now,
                                       const unsigned char *der,
                                       apr_size_t len)
{
    OCSP_BASICRESP *basic = NULL;

    clear_verdict(verdict);
    verdict->reason = parse(&basic, der, len);
    if (verdict->reason == STAPLE_OCSP_OK) {
        verdict->reason = judge_basic(verdict, basic, subject, policy, now);
    }
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return verdict->reason;
}
