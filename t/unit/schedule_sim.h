/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_SCHEDULE_SIM_H
#define STAPLE_T_SCHEDULE_SIM_H

/*
 * The rules of the refresh in simulated time, beside those of other servers:
 * certificates, responders that go down, and a handshake every minute.
 */

#include "staple_rules.h"

/** Who staples. */
typedef enum {
    SIM_STAPLE,  /* include/staple_rules.h, as the server calls it */
    SIM_MOD_SSL, /* mod_ssl of httpd 2.4 as it comes */
    SIM_NGINX,
    SIM_HAPROXY,
    SIM_ALWAYS,  /* asks every minute and keeps what lasts longest: what it
                    has not, nobody could have had */
    SIM_SERVERS
} sim_server_e;

/** What a world is made of. */
typedef struct sim_conf_t {
    int certificates;  /* a quarter of each kind */
    int days;
    int responders;    /* each serves its share of the certificates */
    int outage_max;    /* hours that one lasts at the longest; 0: never down */
    apr_uint32_t seed; /* the same seed gives the same world */
} sim_conf_t;

/** The kinds of certificates, by turns. */
#define SIM_KINDS 4

/** "4 days, signed per request" and so on. */
const char *sim_kind_text(int kind);

/** What came of it for one server and one kind. */
typedef struct sim_result_t {
    long long minutes;   /* certificates times minutes */
    long long missing;   /* of those, without a valid staple */
    long long recovering; /* of those, after an outage that outlived whatever
                             anybody had, before it had one again */
    long long avoidable; /* of those, where SIM_ALWAYS had one otherwise */
    long longest_recovery; /* minutes */
    long long requests;
    double validities;   /* certificates times validity periods */
} sim_result_t;

typedef struct sim_report_t {
    sim_result_t result[SIM_SERVERS][SIM_KINDS];
    double down;         /* part of the time that responders were down */
    double longest_down; /* hours */
} sim_report_t;

void sim_run(sim_report_t *report, const sim_conf_t *conf);

/** The results of all kinds together. */
sim_result_t sim_total(const sim_report_t *report, sim_server_e server);

#endif /* STAPLE_T_SCHEDULE_SIM_H */
