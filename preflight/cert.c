/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is foreseen of one certificate.
 *
 * The one idea: it is judged as the status page will judge it right after the
 * start, before anybody was asked: with nothing held and no exchange. So the
 * preflight has no words of its own for why a certificate is not stapled and
 * what to do.
 */

#include "preflight_int.h"

#include <string.h>

#include <apr_strings.h>

#include "staple_url.h"

/* ----- its URLs ----- */

/* @return whether one of them can be asked */
static int list_urls(preflight_t *report, preflight_cert_t *entry)
{
    const staple_cert_t *cert = entry->cert;
    int i, count = 0;

    for (i = 0; i < cert->urls->nelts; i++) {
        preflight_url_t *listed = apr_array_push(entry->urls);
        staple_url_t url;
        staple_url_e wrong;

        listed->text = APR_ARRAY_IDX(cert->urls, i, const char *);
        wrong = staple_url_parse(&url, listed->text, report->pool);
        listed->wrong = wrong ? staple_url_text(wrong) : NULL;
        listed->text = wrong ? listed->text : url.text;
        count += !wrong;
    }
    return count > 0;
}

/* One that cannot be asked while others can. */
static void report_urls(preflight_t *report, preflight_cert_t *entry,
                        const char *where)
{
    static const staple_state_advice_t advice = { "", "" };
    int i;

    for (i = 0; i < entry->urls->nelts; i++) {
        const preflight_url_t *url = &APR_ARRAY_IDX(entry->urls, i,
                                                    preflight_url_t);

        if (url->wrong) {
            APR_ARRAY_PUSH(entry->troubles, const preflight_trouble_t *)
                = staple_preflight_add(
                    report, where,
                    apr_psprintf(report->pool, "%s cannot be asked: the URL %s",
                                 url->text, url->wrong), &advice);
        }
    }
}

/* ----- its state ----- */

static void judge(preflight_t *report, preflight_cert_t *entry, int can_ask)
{
    const staple_cert_t *cert = entry->cert;
    staple_view_t *view = &entry->view;

    memset(view, 0, sizeof(*view));
    view->cert = cert;
    view->policy = cert->policy;
    view->id = cert->id;
    view->host = "";
    view->has_slot = cert->scope == STAPLE_CERT_APPLIES;
    view->has_exchange = 1;
    if (cert->urls->nelts && !can_ask) {
        view->exchange.last_attempt = report->now;
        view->exchange.failing = 1;
        view->exchange.outcome = STAPLE_FETCH_BAD_URL;
    }
    staple_report_judge(view, report->now);
    staple_report_explain(view, report->now, report->pool);
}

static int has_files(const staple_cert_t *cert)
{
    return cert->scope == STAPLE_CERT_APPLIES
           && cert->policy->response_files->nelts > 0;
}

/* Nothing is held yet, and somebody is asked: so it will be stapled. */
static int will_be_stapled(const preflight_t *report,
                           const preflight_cert_t *entry, int can_ask)
{
    const staple_cert_t *cert = entry->cert;

    return cert->scope == STAPLE_CERT_APPLIES
           && cert->not_after > report->now && (can_ask || has_files(cert));
}

static const char *note_on(const staple_cert_t *cert, apr_pool_t *p)
{
    return cert->scope == STAPLE_CERT_APPLIES && !cert->subject
           ? apr_psprintf(p, STAPLE_PREFLIGHT_SHORT_CHAIN "; to staple, it is "
                          "fetched from %s",
                          APR_ARRAY_IDX(cert->issuer_urls, 0, const char *))
           : NULL;
}

void staple_preflight_foresee(preflight_t *report, preflight_cert_t *entry,
                              const staple_cert_t *cert, const char *where)
{
    const staple_view_t *view = &entry->view;
    int can_ask;

    entry->cert = cert;
    can_ask = list_urls(report, entry);
    judge(report, entry, can_ask);
    entry->is_stapled = will_be_stapled(report, entry, can_ask);
    entry->note = note_on(cert, report->pool);
    if (entry->is_stapled) {
        report_urls(report, entry, where);
    }
    else if (staple_state_needs_attention(view->state)) {
        APR_ARRAY_PUSH(entry->troubles, const preflight_trouble_t *)
            = staple_preflight_add(report, where,
                                   apr_pstrcat(report->pool,
                                               staple_state_text(view->state),
                                               ": ", view->cause, NULL),
                                   &view->advice);
    }
}
