/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How available a staple is under a responder that is down 20 % of the time:
 * mod_staple's rules beside those of mod_ssl, nginx and HAProxy, in simulated
 * time (t/unit/schedule_sim.c says what each of them does).
 *
 *   schedule [seed [certificates [days]]]
 *
 * Ends with 1 if mod_staple, while outages last up to 36 hours, is without a
 * staple in a minute in which somebody could have had one; if it asks more
 * than 2.5 times per certificate and validity period in fair weather; or if it
 * takes longer than a pause to recover. Outages of up to ten days show the
 * price of asking so seldom: what is held when one begins has three eighths
 * of its validity left at least, and not nearly all of it.
 */

#include <stdio.h>
#include <stdlib.h>

#include "../unit/schedule_sim.h"

#define REQUESTS_MAX 2.5

/* After an outage that outlived everything, in minutes: the longest pause of
 * 600 s, spread by a fifth, and the minute in which it is looked. */
#define RECOVERY_MAX 13

static const char *const names[SIM_SERVERS] = {
    "mod_staple", "mod_ssl", "nginx", "HAProxy", "(every minute)"
};

static double requests_of(const sim_result_t *r)
{
    return (double)r->requests / r->validities;
}

static void print_line(const char *name, const sim_result_t *r)
{
    printf("  %-14s %10.5f %% %9lld %10lld %10lld %10.2f\n", name,
           100.0 * (double)(r->minutes - r->missing) / (double)r->minutes,
           r->missing, r->recovering, r->avoidable, requests_of(r));
}

/* kind -1: all together */
static void print_block(const char *title, const sim_report_t *report,
                        int kind)
{
    int i;

    printf("\n%s\n  %-14s %12s %9s %10s %10s %10s\n", title, "", "available",
           "without", "recovering", "avoidable", "requests");
    for (i = 0; i < SIM_SERVERS; i++) {
        sim_result_t r = kind < 0 ? sim_total(report, (sim_server_e)i)
                                  : report->result[i][kind];

        print_line(names[i], &r);
    }
}

static void print_head(const sim_conf_t *conf)
{
    printf("%d certificates, %d days, %d responders; seed %u\n\n"
           "available: part of all minutes\n"
           "without: minutes without a valid staple\n"
           "recovering: of those, after an outage that outlived what anybody "
           "had\n"
           "avoidable: of those, where asking every minute would have had "
           "one\n"
           "requests: per certificate and validity period\n",
           conf->certificates, conf->days, conf->responders, conf->seed);
}

static void print_weather(const char *title, const sim_report_t *report)
{
    printf("\n=== %s: down %.1f %% of the time, for %.1f hours at the longest "
           "===\n", title, report->down * 100, report->longest_down);
}

static int keeps_promise(const sim_report_t *report, int outage_max)
{
    int k, is_kept = 1;

    for (k = 0; k < SIM_KINDS; k++) {
        const sim_result_t *r = &report->result[SIM_STAPLE][k];

        is_kept &= r->longest_recovery <= RECOVERY_MAX
                   && (outage_max > 36 || !r->avoidable)
                   && (outage_max || requests_of(r) <= REQUESTS_MAX);
    }
    return is_kept;
}

static int run(const char *title, sim_conf_t *conf, int outage_max)
{
    sim_report_t report;
    int k;

    conf->outage_max = outage_max;
    sim_run(&report, conf);
    print_weather(title, &report);
    print_block("all", &report, -1);
    for (k = 0; k < SIM_KINDS; k++) {
        print_block(sim_kind_text(k), &report, k);
    }
    return keeps_promise(&report, outage_max);
}

int main(int argc, char **argv)
{
    sim_conf_t conf = { .certificates = 1000, .days = 30, .responders = 20,
                        .seed = 1 };
    int is_good;

    conf.seed = argc > 1 ? (apr_uint32_t)atol(argv[1]) : conf.seed;
    conf.certificates = argc > 2 ? atoi(argv[2]) : conf.certificates;
    conf.days = argc > 3 ? atoi(argv[3]) : conf.days;
    if (conf.certificates < conf.responders * SIM_KINDS || conf.days < 1) {
        fprintf(stderr, "at least %d certificates and a day\n",
                conf.responders * SIM_KINDS);
        return 2;
    }
    print_head(&conf);
    is_good = run("fair weather", &conf, 0);
    is_good &= run("outages of up to 36 hours", &conf, 36);
    is_good &= run("outages of up to 10 days", &conf, 240);
    printf("\nmod_staple: %s\n", is_good ? "as promised" : "NOT as promised");
    return !is_good;
}
