/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An OCSP response taken apart: who signed it, how, when, for which
 * certificates, with which extensions; in short for programs, and in full as
 * lines for people.
 *
 * Nothing is judged here. All that is in a response is shown as printable
 * ASCII, for a CA's names are not ours. Of answers for several certificates,
 * what is told in short is of the one that the response is held for.
 */

#include "staple_report.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "staple_text.h"
#include "staple_words.h"
#include "staple_x509.h"

/* Lines of a response, and where they are allocated. */
typedef struct lines_t {
    apr_array_header_t *list;
    apr_pool_t *pool;
} lines_t;

static void add(lines_t *lines, const char *name, const char *value)
{
    staple_response_line_t *line = apr_array_push(lines->list);

    line->name = name;
    line->value = value ? value : "?";
}

static void begin_section(lines_t *lines, const char *section)
{
    staple_response_line_t *line = apr_array_push(lines->list);

    line->name = section;
    line->value = NULL;
}

static const char *time_text(const ASN1_TIME *time, apr_pool_t *p)
{
    apr_time_t t;

    return staple_ocsp_read_time(time, &t) ? staple_words_when_text(t, p) : "?";
}

static const char *bytes_text(const ASN1_STRING *bytes, apr_pool_t *p)
{
    return staple_text_hex(ASN1_STRING_get0_data(bytes),
                           (apr_size_t)ASN1_STRING_length(bytes), p);
}

/* OpenSSL 4 hands an extension out to be read only, older ones want one that
 * could be written to, and no version writes to it. */
static void add_extension(lines_t *lines, const X509_EXTENSION *extension)
{
    X509_EXTENSION *read = (X509_EXTENSION *)extension;
    const char *name = staple_x509_object_text(
        X509_EXTENSION_get_object(read), lines->pool);

    add(lines, apr_pstrcat(lines->pool, "Extension ", name,
                           X509_EXTENSION_get_critical(read)
                           ? " (critical)" : "", NULL),
        bytes_text(X509_EXTENSION_get_data(read), lines->pool));
}

static const char *algorithm_text(const OCSP_BASICRESP *basic, apr_pool_t *p)
{
    const ASN1_OBJECT *object;

    X509_ALGOR_get0(&object, NULL, NULL, OCSP_resp_get0_tbs_sigalg(basic));
    return staple_x509_object_text(object, p);
}

/* ----- the answer that matters ----- */

_Static_assert(STAPLE_OCSP_GOOD == V_OCSP_CERTSTATUS_GOOD
               && STAPLE_OCSP_REVOKED == V_OCSP_CERTSTATUS_REVOKED
               && STAPLE_OCSP_UNKNOWN == V_OCSP_CERTSTATUS_UNKNOWN,
               "a status is kept as OpenSSL counts them");

static OCSP_BASICRESP *parse(const staple_view_t *view)
{
    const unsigned char *at = view->der;
    OCSP_RESPONSE *whole = d2i_OCSP_RESPONSE(NULL, &at, (long)view->der_len);
    OCSP_BASICRESP *basic = whole ? OCSP_response_get1_basic(whole) : NULL;

    OCSP_RESPONSE_free(whole);
    ERR_clear_error();
    return basic;
}

static const ASN1_INTEGER *serial_of(OCSP_SINGLERESP *single)
{
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                      (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
    return serial;
}

static int is_serial(const ASN1_INTEGER *serial, const char *hex)
{
    BIGNUM *said = ASN1_INTEGER_to_BN(serial, NULL), *known = NULL;
    int is_it = BN_hex2bn(&known, hex) == (int)strlen(hex) && said
                && !BN_cmp(said, known);

    BN_free(said);
    BN_free(known);
    return is_it;
}

/* How much says that an answer is for the certificate: its serial number above
 * all, where that is known, then the status. */
static int fit_of(OCSP_SINGLERESP *single, const staple_view_t *view)
{
    int status = OCSP_single_get0_status(single, NULL, NULL, NULL, NULL);
    int is_ours = view->cert && is_serial(serial_of(single),
                                          view->cert->serial);

    return 2 * is_ours + (status == (int)view->meta.status);
}

/* NULL: there is no answer at all. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic,
                                    const staple_view_t *view)
{
    OCSP_SINGLERESP *best = NULL;
    int i, best_fit = -1;

    for (i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        int fit = fit_of(single, view);

        if (fit > best_fit) {
            best = single;
            best_fit = fit;
        }
    }
    return best;
}

/* Whether no answer for another certificate fits as well. */
static int is_certain(OCSP_BASICRESP *basic, OCSP_SINGLERESP *best,
                      const staple_view_t *view)
{
    int fit = fit_of(best, view);
    int i;

    for (i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);

        if (fit_of(single, view) == fit
            && ASN1_INTEGER_cmp(serial_of(single), serial_of(best))) {
            return 0;
        }
    }
    return 1;
}

/* ----- in short ----- */

static const char *responder_text(const OCSP_BASICRESP *basic, apr_pool_t *p)
{
    const ASN1_OCTET_STRING *key = NULL;
    const X509_NAME *name = NULL;

    if (!OCSP_resp_get0_id(basic, &key, &name)) {
        return "";
    }
    return name ? staple_x509_name_text(name, p)
                : apr_pstrcat(p, "key ", bytes_text(key, p), NULL);
}

/* 0 and -1 where it does not say revoked, or does not say when or why. */
static void read_revocation(OCSP_SINGLERESP *single, apr_time_t *revoked_at,
                            int *crl_reason)
{
    ASN1_GENERALIZEDTIME *at = NULL;
    int status;

    *revoked_at = 0;
    *crl_reason = -1;
    status = single ? OCSP_single_get0_status(single, crl_reason, &at, NULL,
                                              NULL) : -1;
    if (status == V_OCSP_CERTSTATUS_REVOKED) {
        staple_ocsp_read_time(at, revoked_at);
    }
}

static staple_report_response_t *read_basic(OCSP_BASICRESP *basic,
                                            const staple_view_t *view,
                                            apr_pool_t *p)
{
    staple_report_response_t *response = apr_pcalloc(p, sizeof(*response));
    OCSP_SINGLERESP *single = find_answer(basic, view);

    response->responder = responder_text(basic, p);
    response->algorithm = algorithm_text(basic, p);
    staple_ocsp_read_time(OCSP_resp_get0_produced_at(basic),
                          &response->produced_at);
    response->serial = single && is_certain(basic, single, view)
                       ? staple_x509_serial_text(serial_of(single), p) : "";
    return response;
}

const staple_report_response_t *staple_report_read_response(
    const staple_view_t *view, apr_pool_t *p)
{
    OCSP_BASICRESP *basic = parse(view);
    staple_report_response_t *response = basic ? read_basic(basic, view, p)
                                               : NULL;

    OCSP_BASICRESP_free(basic);
    return response;
}

void staple_report_read_revocation(const staple_view_t *view,
                                   apr_time_t *revoked_at, int *crl_reason)
{
    OCSP_BASICRESP *basic = parse(view);

    read_revocation(basic ? find_answer(basic, view) : NULL, revoked_at,
                    crl_reason);
    OCSP_BASICRESP_free(basic);
}

/* ----- in full: who signed ----- */

static void add_responder_id(lines_t *lines, const OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *key = NULL;
    const X509_NAME *name = NULL;

    OCSP_resp_get0_id(basic, &key, &name);
    if (name) {
        add(lines, "Responder, by name",
            staple_x509_name_text(name, lines->pool));
    }
    else if (key) {
        add(lines, "Responder, by hash of key", bytes_text(key, lines->pool));
    }
}

static void add_signature(lines_t *lines, const OCSP_BASICRESP *basic)
{
    add(lines, "Signature algorithm", algorithm_text(basic, lines->pool));
    add(lines, "Signature", bytes_text(OCSP_resp_get0_signature(basic),
                                       lines->pool));
    if (sk_X509_num(OCSP_resp_get0_certs(basic)) <= 0) {
        add(lines, "Certificates included", "none: the issuer signed it");
    }
}

static void add_signer(lines_t *lines, const X509 *x)
{
    apr_pool_t *p = lines->pool;

    begin_section(lines, "Certificate included by the responder");
    add(lines, "Subject", staple_x509_name_text(X509_get_subject_name(x), p));
    add(lines, "Issuer", staple_x509_name_text(X509_get_issuer_name(x), p));
    add(lines, "Serial", bytes_text(X509_get0_serialNumber(x), p));
    add(lines, "Not before", time_text(X509_get0_notBefore(x), p));
    add(lines, "Not after", time_text(X509_get0_notAfter(x), p));
}

static void add_signers(lines_t *lines, const OCSP_BASICRESP *basic)
{
    const STACK_OF(X509) *certs = OCSP_resp_get0_certs(basic);
    int i;

    for (i = 0; i < sk_X509_num(certs); i++) {
        add_signer(lines, sk_X509_value(certs, i));
    }
}

/* ----- what it says ----- */

static void add_cert_id(lines_t *lines, OCSP_SINGLERESP *single)
{
    OCSP_CERTID *id = (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single);
    ASN1_OCTET_STRING *name_hash, *key_hash;
    ASN1_INTEGER *serial;
    ASN1_OBJECT *hash;

    OCSP_id_get0_info(&name_hash, &hash, &key_hash, &serial, id);
    add(lines, "Serial", bytes_text(serial, lines->pool));
    add(lines, "Hash of the CertID",
        staple_x509_object_text(hash, lines->pool));
    add(lines, "Hash of the issuer's name", bytes_text(name_hash,
                                                       lines->pool));
    add(lines, "Hash of the issuer's key", bytes_text(key_hash, lines->pool));
}

static void add_single(lines_t *lines, OCSP_SINGLERESP *single)
{
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL;
    ASN1_GENERALIZEDTIME *next_update = NULL;
    int reason = -1;
    int status = OCSP_single_get0_status(single, &reason, &revoked,
                                         &this_update, &next_update);
    int i;

    begin_section(lines, "What it says");
    add_cert_id(lines, single);
    add(lines, "Status", OCSP_cert_status_str(status));
    if (revoked) {
        add(lines, "Revoked", time_text(revoked, lines->pool));
        add(lines, "Reason", staple_ocsp_crl_reason_text(reason));
    }
    add(lines, "This update", time_text(this_update, lines->pool));
    add(lines, "Next update", next_update
                              ? time_text(next_update, lines->pool) : "none");
    for (i = 0; i < OCSP_SINGLERESP_get_ext_count(single); i++) {
        add_extension(lines, OCSP_SINGLERESP_get_ext(single, i));
    }
}

static void add_basic(lines_t *lines, OCSP_BASICRESP *basic)
{
    int i;

    add_responder_id(lines, basic);
    add(lines, "Produced", time_text(OCSP_resp_get0_produced_at(basic),
                                     lines->pool));
    add_signature(lines, basic);
    for (i = 0; i < OCSP_BASICRESP_get_ext_count(basic); i++) {
        add_extension(lines, OCSP_BASICRESP_get_ext(basic, i));
    }
    for (i = 0; i < OCSP_resp_count(basic); i++) {
        add_single(lines, OCSP_resp_get0(basic, i));
    }
    add_signers(lines, basic);
}

apr_array_header_t *staple_report_dissect(const unsigned char *der,
                                          apr_size_t len, apr_pool_t *p)
{
    const unsigned char *at = der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response)
                                     : NULL;
    lines_t lines;

    lines.list = apr_array_make(p, 32, sizeof(staple_response_line_t));
    lines.pool = p;
    begin_section(&lines, "The response");
    add(&lines, "Bytes", apr_psprintf(p, "%" APR_SIZE_T_FMT, len));
    if (response) {
        add(&lines, "Response status",
            OCSP_response_status_str(OCSP_response_status(response)));
    }
    if (basic) {
        add_basic(&lines, basic);
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return lines.list;
}
