/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight's report for people.
 *
 * The one idea: what is in the way stands where it belongs, behind "!!", and
 * all of it once more at the end, in the same order. The list for the firewall
 * can be pasted.
 */

#include "preflight_int.h"

#include <string.h>

#include <apr_strings.h>

#include "staple_text.h"
#include "staple_words.h"

static void say(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

/* "what; look at the CA: tell it" */
static const char *trouble_text(const preflight_trouble_t *trouble,
                                apr_pool_t *p)
{
    if (!*trouble->remedy) {
        return trouble->what;
    }
    return apr_pstrcat(p, trouble->what, *trouble->who ? "; look at " : "; ",
                       trouble->who, *trouble->who ? ": " : "",
                       trouble->remedy, NULL);
}

/* ----- hosts ----- */

static void print_sources(const preflight_cert_t *entry, apr_pool_t *p)
{
    const staple_cert_policy_t *policy = entry->cert->policy;
    int i;

    for (i = 0; i < entry->urls->nelts; i++) {
        const preflight_url_t *url = &APR_ARRAY_IDX(entry->urls, i,
                                                    preflight_url_t);

        if (!url->wrong) {
            say("responder", policy->proxy
                ? apr_pstrcat(p, url->text, " through ", policy->proxy_shown,
                              NULL) : url->text);
        }
    }
    for (i = 0; i < policy->response_files->nelts; i++) {
        say("response in", APR_ARRAY_IDX(policy->response_files, i,
                                         const char *));
    }
}

static void print_known(const preflight_cert_t *entry, apr_pool_t *p)
{
    const staple_cert_t *cert = entry->cert;

    say("certificate", apr_psprintf(p, "%s, serial %s, until %s", cert->name,
                                    cert->serial,
                                    staple_words_date_text(cert->not_after,
                                                           p)));
    if (entry->is_ca) {
        say("of a CA", "its response is sent with the host's, because "
            "StapleChain is on");
    }
    say("issuer", cert->issuer_dn);
    say("must-staple", cert->is_must_staple ? "yes" : "no");
    if (cert->scope == STAPLE_CERT_APPLIES) {
        print_sources(entry, p);
    }
    say("stapled", entry->is_stapled
        ? "yes" : apr_pstrcat(p, "no: ", entry->view.cause, NULL));
}

static void print_cert(const preflight_cert_t *entry, apr_pool_t *p)
{
    int i;

    say("file", entry->file);
    if (entry->note) {
        say("note", entry->note);
    }
    if (entry->cert) {
        print_known(entry, p);
    }
    else if (entry->subject) {
        say("certificate", entry->subject);
    }
    if (entry->off) {
        say("stapled", apr_pstrcat(p, "no: ", entry->off, NULL));
    }
    for (i = 0; i < entry->troubles->nelts; i++) {
        say("!!", trouble_text(APR_ARRAY_IDX(entry->troubles, i,
                                             const preflight_trouble_t *), p));
    }
}

static void print_host(const preflight_host_t *host, apr_pool_t *p)
{
    int i;

    printf("\n%s (%s:%u)\n", host->name, host->file, host->line);
    if (!host->certs->nelts) {
        say("certificate", "not known before the start: there is no "
            "SSLCertificateFile (with mod_md it comes from there)");
    }
    for (i = 0; i < host->certs->nelts; i++) {
        print_cert(&APR_ARRAY_IDX(host->certs, i, preflight_cert_t), p);
    }
}

/* ----- the server as a whole ----- */

/* Of the sites' certificates that are to be stapled, how many will be. */
static void print_sum(const preflight_t *report)
{
    int i, j, all = 0, stapled = 0;

    for (i = 0; i < report->hosts->nelts; i++) {
        const apr_array_header_t *certs = APR_ARRAY_IDX(report->hosts, i,
                                                preflight_host_t).certs;

        for (j = 0; j < certs->nelts; j++) {
            const preflight_cert_t *entry = &APR_ARRAY_IDX(certs, j,
                                                           preflight_cert_t);

            all += !entry->off && !entry->is_ca;
            stapled += entry->is_stapled && !entry->is_ca;
        }
    }
    say("stapled", apr_psprintf(report->pool, "%d of %d certificate%s", stapled,
                                all, staple_text_plural(all)));
}

static void print_owner(const preflight_t *report)
{
    int i;

    printf("OCSP stapling\n");
    say("by", report->by ? report->by
        : "nobody: SSLUseStapling is off everywhere");
    for (i = 0; i < report->notes->nelts; i++) {
        say("by", APR_ARRAY_IDX(report->notes, i, const char *));
    }
    if (report->by) {
        print_sum(report);
    }
}

/* One a line and nothing else, so that it can be pasted. */
static int print_list(const preflight_t *report)
{
    int i, count = 0;

    printf("\nAllow outbound TCP to:\n");
    for (i = 0; i < report->targets->nelts; i++) {
        const preflight_target_t *target
            = APR_ARRAY_IDX(report->targets, i, const preflight_target_t *);

        if (!target->is_denied) {
            printf("  %s\n", staple_preflight_target_text(target,
                                                          report->pool));
            count++;
        }
    }
    if (!count) {
        printf("  none\n");
    }
    return count;
}

static void print_addresses(const preflight_t *report)
{
    int i;

    printf("\nTheir addresses now\n");
    for (i = 0; i < report->targets->nelts; i++) {
        const preflight_target_t *target
            = APR_ARRAY_IDX(report->targets, i, const preflight_target_t *);

        if (!target->is_denied) {
            printf("  %s (%s, %d use%s): %s\n",
                   staple_preflight_target_text(target, report->pool),
                   target->is_proxy ? "proxy" : "responder", target->uses,
                   target->uses == 1 ? "" : "s",
                   target->addresses ? target->addresses : "not known");
        }
    }
}

static void print_ring(const preflight_t *report)
{
    const preflight_ring_t *ring = &report->ring;

    printf("\nThe ring\n");
    say("path", ring->path ? ring->path
        : "none: responses will not survive a stop");
    say("size", apr_psprintf(report->pool, "%" APR_SIZE_T_FMT " bytes given, "
                             "%" APR_SIZE_T_FMT " needed for %"
                             APR_SIZE_T_FMT " certificate%s", ring->size,
                             ring->needed, ring->certificates,
                             ring->certificates == 1 ? "" : "s"));
    if (ring->grows) {
        say("", "it will grow at start");
    }
}

static void print_answers(const preflight_t *report)
{
    int i;

    printf("\nAsked just now\n");
    for (i = 0; i < report->answers->nelts; i++) {
        const preflight_answer_t *answer
            = &APR_ARRAY_IDX(report->answers, i, preflight_answer_t);

        say(staple_state_needs_attention(answer->state) ? "!!" : "ok",
            apr_pstrcat(report->pool, answer->cert->name, ": ", answer->url,
                        ": ", staple_state_text(answer->state), ": ",
                        answer->words, NULL));
    }
    if (!report->answers->nelts) {
        printf("  none\n");
    }
}

/* ----- the end ----- */

static void print_troubles(const preflight_t *report)
{
    int i, count = report->troubles->nelts;

    if (!count) {
        printf("\nall is well\n");
        return;
    }
    printf("\nWhat needs attention\n");
    for (i = 0; i < count; i++) {
        const preflight_trouble_t *trouble
            = APR_ARRAY_IDX(report->troubles, i, const preflight_trouble_t *);

        printf("  %s: %s\n", trouble->where, trouble_text(trouble,
                                                          report->pool));
    }
    printf("\n%d thing%s need%s attention\n", count, count == 1 ? "" : "s",
           count == 1 ? "s" : "");
}

void staple_preflight_print(const preflight_t *report)
{
    int i;

    print_owner(report);
    for (i = 0; i < report->hosts->nelts; i++) {
        print_host(&APR_ARRAY_IDX(report->hosts, i, preflight_host_t),
                   report->pool);
    }
    if (print_list(report)) {
        print_addresses(report);
    }
    print_ring(report);
    if (report->is_probed) {
        print_answers(report);
    }
    print_troubles(report);
    fflush(stdout);
}
