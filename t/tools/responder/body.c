/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * OCSP: what a response says and who signs it.
 */

#include "responder.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

/* A CertID like `id` but for the next serial. */
static OCSP_CERTID *next_certid(OCSP_CERTID *id)
{
    OCSP_CERTID *other = must(OCSP_CERTID_dup(id));
    ASN1_INTEGER *serial = NULL;
    BIGNUM *bn;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial, other);
    bn = must(ASN1_INTEGER_to_BN(serial, NULL));
    BN_add_word(bn, 1);
    BN_to_ASN1_INTEGER(bn, serial);
    BN_free(bn);
    return other;
}

/* A CertID like `id` but of the stranger. */
static OCSP_CERTID *strange_certid(OCSP_CERTID *id)
{
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
    return must(OCSP_cert_id_new(certid_md(id),
                                 X509_get_subject_name(stranger.cert),
                                 X509_get0_pubkey_bitstr(stranger.cert),
                                 serial));
}

static void add_single(OCSP_BASICRESP *basic, OCSP_CERTID *id,
                       const settings_t *s)
{
    long from = s->this_update, to = s->next_update;
    int status = V_OCSP_CERTSTATUS_GOOD;
    ASN1_TIME *this_update, *next_update, *revoked;

    if (s->answer == ANSWER_EXPIRED) {
        from = -2 * DAY;
        to = -DAY;
    }
    else if (s->answer == ANSWER_NOTYET) {
        from = DAY;
        to = 2 * DAY;
    }
    else if (s->answer == ANSWER_REVOKED) {
        status = V_OCSP_CERTSTATUS_REVOKED;
    }
    else if (s->answer == ANSWER_UNKNOWN) {
        status = V_OCSP_CERTSTATUS_UNKNOWN;
    }
    this_update = X509_gmtime_adj(NULL, from);
    next_update = s->answer == ANSWER_NONEXT ? NULL
                                             : X509_gmtime_adj(NULL, to);
    revoked = X509_gmtime_adj(NULL, -s->revoked_ago);
    OCSP_basic_add1_status(basic, id, status, s->reason, revoked, this_update,
                           next_update);
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    ASN1_TIME_free(revoked);
}

/* Two answers about one certificate. */
static void add_both(OCSP_BASICRESP *basic, OCSP_CERTID *id,
                     const settings_t *s)
{
    settings_t one = *s;
    int is_turned = s->answer == ANSWER_BOTH_TURNED;

    one.answer = is_turned ? ANSWER_REVOKED : ANSWER_GOOD;
    add_single(basic, id, &one);
    one.answer = is_turned ? ANSWER_GOOD : ANSWER_REVOKED;
    add_single(basic, id, &one);
}

static void add_response_ext(OCSP_BASICRESP *basic, int is_critical, long size)
{
    ASN1_OBJECT *oid = must(OBJ_txt2obj("1.3.6.1.4.1.32473.1", 1));
    ASN1_OCTET_STRING *value = must(ASN1_OCTET_STRING_new());
    unsigned char *bytes = must(OPENSSL_zalloc((size_t)size + 1));
    X509_EXTENSION *ext;

    ASN1_OCTET_STRING_set(value, bytes, (int)size);
    ext = must(X509_EXTENSION_create_by_OBJ(NULL, oid, is_critical, value));
    OCSP_BASICRESP_add_ext(basic, ext, -1);
    X509_EXTENSION_free(ext);
    OPENSSL_free(bytes);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
}

static void sign(OCSP_BASICRESP *basic, const settings_t *s,
                 const issuer_t *issuer)
{
    enum signer who = s->answer == ANSWER_OTHERISSUER ? SIGNER_STRANGER
                                                      : s->signer;
    const identity_t *by = &issuer->signers[who];
    const EVP_MD *md = EVP_get_digestbyname(s->digest);
    unsigned long flags = s->by_key ? OCSP_RESPID_KEY : 0;

    if (who == SIGNER_ISSUER) {
        flags |= OCSP_NOCERTS;
    }
    if (!OCSP_basic_sign(basic, by->cert, by->key, md, NULL, flags)) {
        ERR_print_errors_fp(stderr);
    }
    if (s->answer == ANSWER_BADSIG) {
        const ASN1_OCTET_STRING *sig = OCSP_resp_get0_signature(basic);

        /* there is no way to write to it, which is as it should be */
        ((unsigned char *)ASN1_STRING_get0_data(sig))
            [ASN1_STRING_length(sig) - 1] ^= 1;
    }
}

static OCSP_BASICRESP *make_basic(OCSP_CERTID *id, const settings_t *s,
                                  const issuer_t *issuer)
{
    OCSP_BASICRESP *basic = must(OCSP_BASICRESP_new());
    OCSP_CERTID *other = NULL;

    switch (s->answer) {
    case ANSWER_OTHERCERT:
    case ANSWER_SEVERAL:
        other = next_certid(id);
        break;
    case ANSWER_OTHERISSUER:
        other = strange_certid(id);
        break;
    case ANSWER_CRITICAL:
        add_response_ext(basic, 1, 4);
        break;
    case ANSWER_BIG:
    case ANSWER_STUFFED:
        add_response_ext(basic, 0, s->size);
        break;
    default:
        break;
    }
    if (other) {
        add_single(basic, other, s);
    }
    if (s->answer == ANSWER_BOTH || s->answer == ANSWER_BOTH_TURNED) {
        add_both(basic, id, s);
    }
    else if (!other || s->answer == ANSWER_SEVERAL) {
        add_single(basic, id, s);
    }
    OCSP_CERTID_free(other);
    sign(basic, s, issuer);
    return basic;
}

static void write_garbage(BIO *body, long size)
{
    static const char text[] = "<html>This is not what you asked for.</html>\n";
    size_t done = 0, want = (size_t)size;

    while (done < want) {
        size_t n = want - done < sizeof(text) - 1 ? want - done
                                                  : sizeof(text) - 1;

        BIO_write(body, text, (int)n);
        done += n;
    }
}

static void write_der(BIO *body, const unsigned char *der, int len,
                      const settings_t *s)
{
    if (s->answer == ANSWER_TRUNCATED) {
        BIO_write(body, der, len / 2);
        return;
    }
    if (s->answer == ANSWER_LONG && s->size < len) {
        len = (int)s->size;
    }
    BIO_write(body, der, len);
    if (s->answer == ANSWER_LONG) {
        static const char zeros[4096];
        long rest = s->size - len;

        while (rest > 0) {
            int n = rest < (long)sizeof(zeros) ? (int)rest
                                               : (int)sizeof(zeros);

            BIO_write(body, zeros, n);
            rest -= n;
        }
    }
}

/* The body of the answer about `id`; NULL: the request was no OCSP. */
BIO *make_body(OCSP_CERTID *id, const settings_t *s)
{
    BIO *body = must(BIO_new(BIO_s_mem()));
    const issuer_t *issuer = id ? find_issuer(id) : NULL;
    int status = OCSP_RESPONSE_STATUS_SUCCESSFUL;
    OCSP_BASICRESP *basic = NULL;
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    int len;

    if (s->answer == ANSWER_GARBAGE) {
        write_garbage(body, s->size);
        return body;
    }
    if (!id) {
        status = OCSP_RESPONSE_STATUS_MALFORMEDREQUEST;
    }
    else if (s->only_hash && EVP_MD_type(certid_md(id)) != s->only_hash) {
        status = s->other_hash_status;
    }
    else if (s->answer == ANSWER_ERROR) {
        status = s->ocsp_status;
    }
    else if (!issuer) {
        status = OCSP_RESPONSE_STATUS_UNAUTHORIZED;
    }
    else {
        basic = make_basic(id, s, issuer);
        status = s->answer == ANSWER_STUFFED ? OCSP_RESPONSE_STATUS_TRYLATER
                                             : status;
    }
    response = must(OCSP_response_create(status, basic));
    len = i2d_OCSP_RESPONSE(response, &der);
    if (len > 0) {
        write_der(body, der, len, s);
    }
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return body;
}
