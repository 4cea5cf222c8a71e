/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight's report for programs: one document, and nothing else on
 * standard output. docs/preflight.md lists its members; "format" goes up when
 * one of them changes its meaning or goes, not when one is added.
 */

#include "preflight_int.h"

#include <apr_strings.h>

#define FORMAT 1

static void write_bytes(void *baton, const char *bytes, apr_size_t len)
{
    fwrite(bytes, 1, len, baton);
}

static void put_trouble(staple_json_t *json,
                        const preflight_trouble_t *trouble)
{
    staple_json_open(json, NULL, '{');
    staple_json_string(json, "where", trouble->where);
    staple_json_string(json, "what", trouble->what);
    staple_json_words(json, "who", trouble->who);
    staple_json_words(json, "remedy", trouble->remedy);
    staple_json_close(json, '}');
}

static void put_troubles(staple_json_t *json,
                         const apr_array_header_t *troubles)
{
    int i;

    staple_json_open(json, "troubles", '[');
    for (i = 0; i < troubles->nelts; i++) {
        put_trouble(json, APR_ARRAY_IDX(troubles, i,
                                        const preflight_trouble_t *));
    }
    staple_json_close(json, ']');
}

/* ----- hosts ----- */

static void put_urls(staple_json_t *json, const preflight_cert_t *entry)
{
    int i;

    staple_json_open(json, "responders", '[');
    for (i = 0; i < entry->urls->nelts; i++) {
        const preflight_url_t *url = &APR_ARRAY_IDX(entry->urls, i,
                                                    preflight_url_t);

        if (!url->wrong) {
            staple_json_string(json, NULL, url->text);
        }
    }
    staple_json_close(json, ']');
}

static void put_known(staple_json_t *json, const preflight_cert_t *entry)
{
    const staple_cert_t *cert = entry->cert;

    staple_json_string(json, "name", cert->name);
    staple_json_string(json, "serial", cert->serial);
    staple_json_string(json, "issuer", cert->issuer_dn);
    staple_json_moment(json, "not_after", cert->not_after);
    staple_json_truth(json, "must_staple", cert->is_must_staple);
    put_urls(json, entry);
    staple_json_strings(json, "response_files", cert->policy->response_files);
    staple_json_words(json, "proxy", cert->policy->proxy
                      ? cert->policy->proxy_shown : "");
    staple_json_string(json, "state", staple_state_name(entry->view.state));
    staple_json_words(json, "cause", entry->is_stapled ? ""
                                                       : entry->view.cause);
}

static void put_cert(staple_json_t *json, const preflight_cert_t *entry)
{
    staple_json_open(json, NULL, '{');
    staple_json_string(json, "file", entry->file);
    staple_json_string(json, "subject", entry->cert ? entry->cert->subject_dn
                                                    : entry->subject);
    staple_json_truth(json, "stapled", entry->is_stapled);
    staple_json_truth(json, "is_ca", entry->is_ca);
    staple_json_string(json, "off", entry->off);
    staple_json_string(json, "note", entry->note);
    if (entry->cert) {
        put_known(json, entry);
    }
    put_troubles(json, entry->troubles);
    staple_json_close(json, '}');
}

static void put_host(staple_json_t *json, const preflight_host_t *host)
{
    int i;

    staple_json_open(json, NULL, '{');
    staple_json_string(json, "host", host->name);
    staple_json_string(json, "file", host->file);
    staple_json_number(json, "line", host->line);
    staple_json_open(json, "certificates", '[');
    for (i = 0; i < host->certs->nelts; i++) {
        put_cert(json, &APR_ARRAY_IDX(host->certs, i, preflight_cert_t));
    }
    staple_json_close(json, ']');
    staple_json_close(json, '}');
}

/* ----- the server as a whole ----- */

static void put_target(staple_json_t *json, const preflight_target_t *target)
{
    staple_json_open(json, NULL, '{');
    staple_json_string(json, "host", target->host);
    staple_json_number(json, "port", target->port);
    staple_json_string(json, "role", target->is_proxy ? "proxy" : "responder");
    staple_json_number(json, "uses", target->uses);
    staple_json_string(json, "addresses", target->addresses);
    staple_json_close(json, '}');
}

static void put_targets(staple_json_t *json, const preflight_t *report)
{
    int i;

    staple_json_open(json, "outbound", '[');
    for (i = 0; i < report->targets->nelts; i++) {
        const preflight_target_t *target
            = APR_ARRAY_IDX(report->targets, i, const preflight_target_t *);

        if (!target->is_denied) {
            put_target(json, target);
        }
    }
    staple_json_close(json, ']');
}

static void put_ring(staple_json_t *json, const preflight_ring_t *ring)
{
    staple_json_open(json, "ring", '{');
    staple_json_string(json, "path", ring->path);
    staple_json_number(json, "size", (apr_int64_t)ring->size);
    staple_json_number(json, "needed", (apr_int64_t)ring->needed);
    staple_json_number(json, "certificates", (apr_int64_t)ring->certificates);
    staple_json_truth(json, "grows", ring->grows);
    staple_json_close(json, '}');
}

static void put_answer(staple_json_t *json, const preflight_answer_t *answer)
{
    staple_json_open(json, NULL, '{');
    staple_json_string(json, "certificate", answer->cert->name);
    staple_json_string(json, "serial", answer->cert->serial);
    staple_json_string(json, "url", answer->url);
    staple_json_string(json, "state", staple_state_name(answer->state));
    staple_json_string(json, "severity", staple_severity_name(
                           staple_state_severity(answer->state)));
    staple_json_string(json, "words", answer->words);
    staple_json_words(json, "who", answer->who);
    staple_json_words(json, "remedy", answer->remedy);
    staple_json_close(json, '}');
}

/* null: nobody was to be asked */
static void put_answers(staple_json_t *json, const preflight_t *report)
{
    int i;

    if (!report->is_probed) {
        staple_json_string(json, "probe", NULL);
        return;
    }
    staple_json_open(json, "probe", '[');
    for (i = 0; i < report->answers->nelts; i++) {
        put_answer(json, &APR_ARRAY_IDX(report->answers, i,
                                        preflight_answer_t));
    }
    staple_json_close(json, ']');
}

void staple_preflight_print_json(const preflight_t *report)
{
    staple_json_t json;
    int i;

    staple_json_start(&json, write_bytes, stdout);
    staple_json_open(&json, NULL, '{');
    staple_json_number(&json, "format", FORMAT);
    staple_json_string(&json, "module", "mod_staple/" STAPLE_VERSION);
    staple_json_moment(&json, "time", report->now);
    staple_json_truth(&json, "is_well", !report->troubles->nelts);
    staple_json_string(&json, "by", report->by);
    staple_json_strings(&json, "notes", report->notes);
    staple_json_open(&json, "hosts", '[');
    for (i = 0; i < report->hosts->nelts; i++) {
        put_host(&json, &APR_ARRAY_IDX(report->hosts, i, preflight_host_t));
    }
    staple_json_close(&json, ']');
    put_targets(&json, report);
    put_ring(&json, &report->ring);
    put_answers(&json, report);
    put_troubles(&json, report->troubles);
    staple_json_close(&json, '}');
    fputs("\n", stdout);
    fflush(stdout);
}
