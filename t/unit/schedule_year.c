/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The rules of the refresh through a year of fair weather, one of outages of
 * up to 36 hours, and one of outages that nothing survives; a handshake every
 * minute. t/bench/schedule is the same at length, with other servers' names.
 */

#include "schedule_sim.h"
#include "tap.h"

/* Minutes: the longest pause of 600 s, spread by a fifth, and the minute in
 * which it is looked. */
#define RECOVERY_MAX 13

static sim_report_t year_of(int outage_max)
{
    sim_conf_t conf = { .certificates = 32, .days = 365, .responders = 8,
                        .outage_max = outage_max, .seed = 1 };
    sim_report_t report;

    sim_run(&report, &conf);
    return report;
}

static void test_fair(void)
{
    sim_report_t report = year_of(0);
    int k;

    for (k = 0; k < SIM_KINDS; k++) {
        const sim_result_t *r = &report.result[SIM_STAPLE][k];
        double requests = (double)r->requests / r->validities;

        ok(r->missing == 0, "%s: a staple in every minute",
           sim_kind_text(k));
        ok(requests <= 2.5, "... with %.2f requests per validity period",
           requests);
    }
}

static void test_outages(void)
{
    sim_report_t report = year_of(36);
    sim_result_t other = sim_total(&report, SIM_MOD_SSL);
    int k;

    ok(report.down > 0.18 && report.down < 0.22 && report.longest_down > 35,
       "bad weather: down %.1f %% of the time, for %.1f hours at the longest",
       report.down * 100, report.longest_down);
    ok((double)other.missing > 0.15 * (double)other.minutes,
       "which another server feels");
    for (k = 0; k < SIM_KINDS; k++) {
        ok(report.result[SIM_STAPLE][k].missing == 0,
           "%s: a staple in every minute", sim_kind_text(k));
    }
}

static void test_long_outages(void)
{
    sim_report_t report = year_of(240);
    sim_result_t always = sim_total(&report, SIM_ALWAYS);
    int k;

    ok(always.missing > 0, "outages that outlive what anybody could have");
    for (k = 0; k < SIM_KINDS; k++) {
        const sim_result_t *r = &report.result[SIM_STAPLE][k];

        ok(r->longest_recovery > 0 && r->longest_recovery <= RECOVERY_MAX,
           "%s: over, there is a staple in %ld minutes", sim_kind_text(k),
           r->longest_recovery);
    }
}

int main(void)
{
    test_fair();
    test_outages();
    test_long_outages();
    return tap_done();
}
