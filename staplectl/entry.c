/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: an entry is judged and named.
 *
 * With the certificate and its issuer the bytes are judged as the server judges
 * them. Without, the times and the status that are kept beside them decide.
 */

#include "staplectl.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/x509v3.h>

#include "staple_rules.h"
#include "staple_text.h"
#include "staple_words.h"

/* The fewest digits of an id that stand for it. */
#define ID_DIGITS_MIN 8

static staple_cert_policy_t *make_policy(apr_pool_t *p)
{
    staple_cert_policy_t *policy = apr_pcalloc(p, sizeof(*policy));

    policy->times.skew = STAPLE_RULES_SKEW;
    policy->times.max_age = -1;
    policy->times.default_age = STAPLE_RULES_DEFAULT_AGE;
    policy->greatest_age = STAPLE_RULES_STAPLE_AGE;
    policy->refresh_age = -1;
    policy->revoked_recheck = STAPLE_RULES_RECHECK;
    policy->return_errors = 1; /* what is flagged as one is served */
    policy->response_files = apr_array_make(p, 0, sizeof(const char *));
    return policy;
}

const staple_cert_policy_t *staplectl_usual_policy(apr_pool_t *p)
{
    return make_policy(p);
}

/* The response of a must-staple certificate is served whatever its age, and so
 * was what a handshake brought. */
static const staple_cert_policy_t *policy_of(const staplectl_entry_t *entry,
                                             apr_pool_t *p)
{
    const staple_view_t *view = &entry->view;
    staple_cert_policy_t *policy = make_policy(p);

    policy->outlives_age = entry->was_sent
                           || (view->cert ? view->cert->is_must_staple
                                          : view->traits.is_must_staple);
    return policy;
}

staplectl_entry_t *staplectl_entry_push(apr_array_header_t *entries)
{
    staplectl_entry_t *entry = apr_array_push(entries);

    memset(entry, 0, sizeof(*entry));
    entry->view.host = "";
    entry->view.has_slot = 1;
    return entry;
}

void staplectl_entry_set_cert(staplectl_entry_t *entry,
                              const staplectl_leaf_t *leaf)
{
    entry->view.id = leaf->cert->id;
    entry->view.cert = leaf->cert;
    entry->view.is_judged = leaf->issuer && leaf->cert->subject;
    entry->leaf = leaf->leaf;
}

int staplectl_entry_is_asked(const staple_view_t *view)
{
    return view->has_slot && view->has_exchange;
}

/* ----- the judgement ----- */

/* A ring's record that is merely too old is not served; a server that sends
 * such a response does serve it. */
static int is_about_time(staple_ocsp_reason_e reason)
{
    return reason == STAPLE_OCSP_NOT_YET_VALID || reason == STAPLE_OCSP_EXPIRED
           || reason == STAPLE_OCSP_TOO_OLD;
}

/* What the module itself would say of the bytes. */
static void judge_bytes(staple_view_t *view, apr_time_t now)
{
    staple_ocsp_verdict_t verdict;

    view->reason = staple_ocsp_judge(&verdict, view->cert->subject,
                                     &view->policy->times, now, view->der,
                                     view->der_len);
    if (!view->meta.this_update) { /* it comes from no ring */
        view->meta.this_update = verdict.this_update;
        view->meta.next_update = verdict.next_update;
        view->meta.status = (apr_uint32_t)verdict.status;
    }
    else if (is_about_time(view->reason)) {
        view->reason = STAPLE_OCSP_OK;
    }
}

/* A valid staple that the server does send and that some clients refuse. */
static void judge_age(staplectl_entry_t *entry, apr_time_t now, apr_pool_t *p)
{
    static const staple_state_advice_t advice = { "the server, or the CA",
        "have the response fetched anew; if the CA gives none that is newer, "
        "ask it to sign its responses anew at least every five days" };
    staple_view_t *view = &entry->view;
    apr_time_t signed_at = view->numbers.this_update;

    entry->is_old = entry->was_sent && view->state == STAPLE_STATE_STAPLED
                    && now - signed_at > STAPLE_RULES_STAPLE_AGE;
    if (entry->is_old) {
        view->cause = apr_pstrcat(p, "it was signed at ",
                                  staple_words_when_text(signed_at, p),
                                  ", more than 10 days ago: Firefox refuses it",
                                  NULL);
        view->advice = advice;
    }
}

void staplectl_entry_judge(staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p)
{
    staple_view_t *view = &entry->view;

    view->policy = policy_of(entry, p);
    if (view->der) {
        view->response = staple_report_read_response(view, p);
        if (view->is_judged) {
            judge_bytes(view, now);
        }
    }
    staple_report_judge(view, now);
    staple_report_explain(view, now, p);
    judge_age(entry, now, p);
}

/* ----- naming an entry ----- */

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

/* Where the port of a name begins, with its colon: the end where there is none,
 * as in the address [::1]. */
static const char *port_of(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon && !strchr(colon, ']') ? colon : name + strlen(name);
}

/* Without a port all are meant. The ring leaves the usual one away. */
static int is_port(const char *pattern, const char *port)
{
    return !*pattern || !strcmp(pattern, *port ? port : ":443");
}

/* Of a name that had no room, the end has to do. */
static int is_host(const char *pattern, const char *host)
{
    const char *pattern_port = port_of(pattern), *port = port_of(host);
    apr_size_t len = (apr_size_t)(pattern_port - pattern);
    apr_size_t host_len = (apr_size_t)(port - host);
    apr_size_t cut = strlen(STAPLE_CACHE_NAME_CUT);

    if (!is_port(pattern_port, port)) {
        return 0;
    }
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
    const staple_view_t *view = &entry->view;

    if (is_host(pattern, view->host)) {
        return 1;
    }
    if (entry->leaf
        && (X509_check_host(entry->leaf, pattern, 0, 0, NULL) == 1
            || !apr_cstr_casecmp(pattern, view->cert->name))) {
        return 1;
    }
    return is_serial(pattern, view->serial) || is_id(pattern, view->id, p);
}
