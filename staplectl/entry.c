/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: an entry is judged and named.
 *
 * With the certificate and its issuer the bytes are judged as the server judges
 * them. Without, the times and the status that are kept beside them decide.
 */

#include "staplectl.h"

#include <stdio.h>
#include <string.h>

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "staple_rules.h"
#include "staple_text.h"
#include "staple_x509.h"

/* The fewest digits of an id that stand for it, and the bytes that are shown
 * where it is all there is for a name. */
#define ID_DIGITS_MIN 8
#define ID_SHOWN 8

/* Where the directives say nothing else: they are not known here. */
staple_cert_policy_t staplectl_usual_policy(apr_pool_t *p)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.skew = STAPLE_RULES_SKEW;
    policy.times.max_age = -1;
    policy.times.default_age = STAPLE_RULES_DEFAULT_AGE;
    policy.refresh_age = -1;
    policy.greatest_age = STAPLE_RULES_STAPLE_AGE;
    policy.response_files = apr_array_make(p, 0, sizeof(const char *));
    return policy;
}

void staplectl_entry_set_cert(staplectl_entry_t *entry,
                              const staplectl_leaf_t *leaf)
{
    entry->id = leaf->cert->id;
    entry->cert = leaf->cert;
    entry->leaf = leaf->leaf;
    entry->is_judged = leaf->issuer != NULL;
}

/* ----- what a response says of itself ----- */

static const char *responder_text(const OCSP_BASICRESP *basic, apr_pool_t *p)
{
    const ASN1_OCTET_STRING *key = NULL;
    const X509_NAME *name = NULL;

    if (!OCSP_resp_get0_id(basic, &key, &name)) {
        return "";
    }
    return name ? staple_x509_name_text(name, p)
                : apr_pstrcat(p, "key ",
                              staple_text_hex(
                                  ASN1_STRING_get0_data(key),
                                  (apr_size_t)ASN1_STRING_length(key), p),
                              NULL);
}

static const ASN1_INTEGER *serial_of(OCSP_SINGLERESP *single)
{
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                      (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
    return serial;
}

static staplectl_response_t *read_basic(OCSP_BASICRESP *basic, apr_pool_t *p)
{
    staplectl_response_t *response = apr_pcalloc(p, sizeof(*response));
    OCSP_SINGLERESP *single = OCSP_resp_get0(basic, 0);
    ASN1_GENERALIZEDTIME *revoked_at = NULL;
    const ASN1_OBJECT *algorithm;
    int reason = -1;

    response->responder = responder_text(basic, p);
    X509_ALGOR_get0(&algorithm, NULL, NULL, OCSP_resp_get0_tbs_sigalg(basic));
    response->algorithm = staple_x509_object_text(algorithm, p);
    staple_ocsp_read_time(OCSP_resp_get0_produced_at(basic),
                          &response->produced_at);
    response->serial = single ? staple_x509_serial_text(serial_of(single), p)
                              : "";
    if (single
        && OCSP_single_get0_status(single, &reason, &revoked_at, NULL, NULL)
           == V_OCSP_CERTSTATUS_REVOKED) {
        staple_ocsp_read_time(revoked_at, &response->revoked_at);
    }
    response->crl_reason = reason;
    return response;
}

static staplectl_response_t *read_response(const unsigned char *der,
                                           apr_size_t len, apr_pool_t *p)
{
    OCSP_RESPONSE *whole = d2i_OCSP_RESPONSE(NULL, &der, (long)len);
    OCSP_BASICRESP *basic = whole ? OCSP_response_get1_basic(whole) : NULL;
    staplectl_response_t *response = basic ? read_basic(basic, p) : NULL;

    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(whole);
    ERR_clear_error();
    return response;
}

/* ----- the verdict ----- */

/* With the issuer known, what the module itself would say of the bytes. */
static staplectl_verdict_e judge(staplectl_entry_t *entry,
                                 const staple_ocsp_policy_t *times,
                                 apr_time_t now)
{
    staple_ocsp_verdict_t verdict;

    entry->reason = staple_ocsp_judge(&verdict, entry->cert->subject, times,
                                      now, entry->der, entry->der_len);
    if (!entry->meta.this_update) { /* it comes from no ring */
        entry->meta.this_update = verdict.this_update;
        entry->meta.next_update = verdict.next_update;
        entry->meta.status = (apr_uint32_t)verdict.status;
    }
    switch (entry->reason) {
    case STAPLE_OCSP_OK:
        return verdict.status == STAPLE_OCSP_REVOKED ? STAPLECTL_REVOKED
               : verdict.status == STAPLE_OCSP_GOOD ? STAPLECTL_STAPLED
               : STAPLECTL_ERROR;
    case STAPLE_OCSP_NOT_YET_VALID:
    case STAPLE_OCSP_EXPIRED:
    case STAPLE_OCSP_TOO_OLD:
        return STAPLECTL_EXPIRED;
    case STAPLE_OCSP_MALFORMED_REQUEST:
    case STAPLE_OCSP_INTERNAL_ERROR:
    case STAPLE_OCSP_TRY_LATER:
    case STAPLE_OCSP_SIG_REQUIRED:
    case STAPLE_OCSP_UNAUTHORIZED:
        return STAPLECTL_ERROR;
    default:
        return STAPLECTL_UNTRUE;
    }
}

/* Whether no response will ever be held. Where only its issuer was not given to
 * staplectl, one may be. */
static int is_needless(const staple_cert_t *cert)
{
    return cert && cert->scope != STAPLE_CERT_APPLIES
           && cert->scope != STAPLE_CERT_NO_ISSUER;
}

static staplectl_verdict_e verdict_of(staplectl_entry_t *entry,
                                      const staple_cert_policy_t *policy,
                                      apr_time_t now)
{
    if (!entry->der) {
        return is_needless(entry->cert)
               ? STAPLECTL_NEEDLESS
               : entry->has_state && !entry->state.last_attempt
               ? STAPLECTL_WAITING : STAPLECTL_MISSING;
    }
    if (entry->meta.flags & STAPLE_RULES_IS_ERROR) {
        return STAPLECTL_ERROR;
    }
    if (entry->is_judged && entry->cert->subject) {
        return judge(entry, &policy->times, now);
    }
    if (!staple_rules_may_serve(policy, &entry->meta, now)) {
        return STAPLECTL_EXPIRED;
    }
    return entry->meta.status == STAPLE_OCSP_REVOKED ? STAPLECTL_REVOKED
                                                     : STAPLECTL_STAPLED;
}

void staplectl_entry_judge(staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p)
{
    staple_cert_policy_t policy = staplectl_usual_policy(p);
    int is_pending = entry->verdict == STAPLECTL_PENDING;

    entry->verdict = verdict_of(entry, &policy, now);
    if (is_pending && entry->verdict == STAPLECTL_STAPLED) {
        entry->verdict = STAPLECTL_PENDING;
    }
    if (entry->der) {
        entry->response = read_response(entry->der, entry->der_len, p);
        entry->until = staple_rules_serve_until(&policy, &entry->meta);
    }
}

/* ----- naming an entry ----- */

const char *staplectl_entry_serial(const staplectl_entry_t *entry)
{
    return entry->cert ? entry->cert->serial
           : entry->response ? entry->response->serial : "";
}

const char *staplectl_entry_name(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const char *serial = staplectl_entry_serial(entry);

    if (entry->cert) {
        return entry->cert->name;
    }
    if (*entry->host) {
        return entry->host;
    }
    return *serial ? apr_pstrcat(p, "serial ", serial, NULL)
                   : apr_pstrcat(p, "fingerprint ",
                                 staple_text_hex(entry->id, ID_SHOWN, p), NULL);
}

/* The next hexadecimal digit, in upper case; 0 at the end, -1 at anything
 * else. Colons are passed over. */
static int next_digit(const char **text)
{
    while (**text == ':') {
        (*text)++;
    }
    if (!**text) {
        return 0;
    }
    return apr_isxdigit(**text) ? apr_toupper(*(*text)++) : -1;
}

static const char *skip_zeros(const char *hex)
{
    return hex + strspn(hex, "0:");
}

/* Whether all digits of pattern begin hex; *left says whether hex goes on. */
static int is_prefix(const char *pattern, const char *hex, int *digits,
                     int *left)
{
    int digit;

    for (*digits = 0; (digit = next_digit(&pattern)) > 0; (*digits)++) {
        if (next_digit(&hex) != digit) {
            return 0;
        }
    }
    *left = next_digit(&hex) > 0;
    return digit == 0;
}

static int is_serial(const char *pattern, const char *serial)
{
    int digits, left;

    return *serial && is_prefix(skip_zeros(pattern), skip_zeros(serial),
                                &digits, &left)
           && digits && !left;
}

static int is_id(const char *pattern, const unsigned char *id, apr_pool_t *p)
{
    const char *hex = staple_text_hex(id, STAPLE_ID_LEN, p);
    int digits, left;

    return is_prefix(pattern, hex, &digits, &left) && digits >= ID_DIGITS_MIN;
}

/* Of a name that had no room, the end has to do. */
static int is_host(const char *pattern, const char *host)
{
    apr_size_t len = strlen(pattern), cut = strlen(STAPLE_CACHE_NAME_CUT);
    const char *port = strrchr(host, ':');
    apr_size_t host_len = port && !strchr(pattern, ':')
                          ? (apr_size_t)(port - host) : strlen(host);

    if (!strncmp(host, STAPLE_CACHE_NAME_CUT, cut) && len > host_len - cut) {
        host += cut;
        host_len -= cut;
        pattern += len - host_len;
        len = host_len;
    }
    return len && len == host_len && !apr_cstr_casecmpn(pattern, host, len);
}

int staplectl_entry_matches(const staplectl_entry_t *entry,
                            const char *pattern, apr_pool_t *p)
{
    if (is_host(pattern, entry->host)) {
        return 1;
    }
    if (entry->leaf
        && (X509_check_host(entry->leaf, pattern, 0, 0, NULL) == 1
            || !apr_cstr_casecmp(pattern, entry->cert->name))) {
        return 1;
    }
    return is_serial(pattern, staplectl_entry_serial(entry))
           || is_id(pattern, entry->id, p);
}
