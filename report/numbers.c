/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The numbers that are shown: each declared once, with its type, its unit and
 * a line of meaning. The page, JSON, ?metrics, ?auto and mod_status' page are
 * made from these tables; docs/status.md lists them, and a test compares.
 */

#include <stddef.h>

#include "staple_report.h"

#define NUMBER(of, name, type, unit, label, meaning) \
    { #name, STAPLE_NUMBER_##type, STAPLE_UNIT_##unit, \
      offsetof(staple_##of##_numbers_t, name), label, meaning }
#define END { NULL, STAPLE_NUMBER_GAUGE, STAPLE_UNIT_NONE, 0, NULL, NULL }

const staple_number_t staple_report_server_numbers[] = {
    NUMBER(server, certificates, GAUGE, NONE, "Certificates",
           "Certificates of virtual hosts with SSLUseStapling on."),
    NUMBER(server, applicable, GAUGE, NONE, "OCSP applies to",
           "Certificates among them that OCSP applies to."),
    NUMBER(server, attention, GAUGE, NONE, "Need attention",
           "Certificates whose state asks for somebody to look."),
    NUMBER(server, stapled, GAUGE, NONE, "Stapled",
           "Certificates for which a valid response is served."),
    NUMBER(server, since, GAUGE, TIME, NULL,
           "Since when some need attention, or since when all is well."),
    NUMBER(server, served, COUNTER, NONE, "Staples served",
           "Handshakes that got a response."),
    NUMBER(server, missed, COUNTER, NONE, "Staples missed",
           "Handshakes that asked for a response and got none."),
    NUMBER(server, avoided, COUNTER, NONE, "Must-staple avoided",
           "Handshakes that StapleMustStaple gave another certificate."),
    NUMBER(server, refused, COUNTER, NONE, "Must-staple refused",
           "Handshakes that StapleMustStaple refused."),
    NUMBER(server, attempts, COUNTER, NONE, "Exchanges",
           "Exchanges with responders."),
    NUMBER(server, failures, COUNTER, NONE, "Failed exchanges",
           "Exchanges that brought no response."),
    NUMBER(server, ring_size, GAUGE, BYTES, "Ring size",
           "Size of the ring."),
    NUMBER(server, ring_data, GAUGE, BYTES, "For responses",
           "Part of the ring that is for responses."),
    NUMBER(server, ring_live, GAUGE, BYTES, "Live",
           "Part of that which holds responses in use."),
    NUMBER(server, ring_free, GAUGE, BYTES, "Free",
           "Part of that which holds none."),
    NUMBER(server, ring_records, GAUGE, NONE, "Responses held",
           "Responses that the ring holds."),
    NUMBER(server, ring_stored, COUNTER, NONE, "Stored",
           "Records written to the ring since it was made."),
    NUMBER(server, ring_moved, COUNTER, NONE, "Moved",
           "Records that were written again to stay in the ring."),
    NUMBER(server, ring_refused, COUNTER, NONE, "Refused",
           "Responses that did not fit into the ring."),
    NUMBER(server, ring_generation, GAUGE, NONE, "Generation",
           "Rings made since the ring's file was begun; one each restart."),
    NUMBER(server, ring_created, GAUGE, TIME, "Made",
           "When this ring was made: the server's last start or restart."),
    END
};

const staple_number_t staple_report_cert_numbers[] = {
    NUMBER(cert, stapled, GAUGE, NONE, NULL,
           "1 if a valid response is served, else 0."),
    NUMBER(cert, attention, GAUGE, NONE, NULL,
           "1 if the state asks for somebody to look, else 0."),
    NUMBER(cert, since, GAUGE, TIME, "Since",
           "Since when it asks for somebody to look, or is well."),
    NUMBER(cert, must_staple, GAUGE, NONE, NULL,
           "1 if clients refuse the certificate without a response."),
    NUMBER(cert, this_update, GAUGE, TIME, "This update",
           "From when on the response is valid."),
    NUMBER(cert, next_update, GAUGE, TIME, "Next update",
           "When the responder promised a newer response."),
    NUMBER(cert, serve_until, GAUGE, TIME, "Served until",
           "When the response stops being served."),
    NUMBER(cert, fetched, GAUGE, TIME, "Obtained",
           "When the response was obtained."),
    NUMBER(cert, last_attempt, GAUGE, TIME, "Last exchange",
           "When the last exchange with a responder ended."),
    NUMBER(cert, last_success, GAUGE, TIME, "Last success",
           "When an exchange last brought a response."),
    NUMBER(cert, next_due, GAUGE, TIME, "Next exchange",
           "When the next exchange is due."),
    NUMBER(cert, not_after, GAUGE, TIME, "Certificate ends",
           "When the certificate itself ends."),
    NUMBER(cert, revoked, GAUGE, TIME, "Revoked",
           "Since when the certificate is revoked, as the CA says."),
    NUMBER(cert, revoked_reason, GAUGE, NONE, NULL,
           "The CA's reason, a CRLReason (RFC 5280 5.3.1); -1: none."),
    NUMBER(cert, served, COUNTER, NONE, "Staples served",
           "Handshakes that got the response."),
    NUMBER(cert, missed, COUNTER, NONE, "Staples missed",
           "Handshakes that asked for a response and got none."),
    NUMBER(cert, attempts, COUNTER, NONE, "Exchanges",
           "Exchanges with responders."),
    NUMBER(cert, failures, COUNTER, NONE, "Failed exchanges",
           "Exchanges that brought no response."),
    NUMBER(cert, failing, GAUGE, NONE, "Failures in a row",
           "Exchanges that failed since the last one that did not."),
    NUMBER(cert, resolve_took, GAUGE, SPAN, "Resolving took",
           "How long the last exchange took to find the responder's address."),
    NUMBER(cert, connect_took, GAUGE, SPAN, "Connecting took",
           "How long it took from there to a connection."),
    NUMBER(cert, wait_took, GAUGE, SPAN, "Waiting took",
           "How long it took from the request to the answer's first byte."),
    END
};

const staple_number_t staple_report_responder_numbers[] = {
    NUMBER(responder, certificates, GAUGE, NONE, "Certificates",
           "Certificates that name the responder."),
    NUMBER(responder, answering, GAUGE, NONE, "Answering",
           "Certificates among them that it answered for last."),
    NUMBER(responder, failing, GAUGE, NONE, "Failing",
           "Certificates among them whose last exchange failed."),
    NUMBER(responder, failing_stapled, GAUGE, NONE, NULL,
           "Certificates among those that keep a valid response."),
    NUMBER(responder, first_end, GAUGE, TIME, NULL,
           "When the first of these responses stops being served."),
    NUMBER(responder, last_success, GAUGE, TIME, "Last success",
           "The latest exchange for one of them that brought a response."),
    NUMBER(responder, last_failure, GAUGE, TIME, "Last failure",
           "The latest exchange for those that fail now."),
    END
};

const staple_number_t staple_report_refresher_numbers[] = {
    NUMBER(refresher, running, GAUGE, NONE, NULL,
           "1 while the refresher gives a heartbeat, else 0."),
    NUMBER(refresher, pid, GAUGE, NONE, "Process",
           "Its process; 0: none has begun in this generation."),
    NUMBER(refresher, started, GAUGE, TIME, "Begun",
           "When that process began."),
    NUMBER(refresher, restarts, COUNTER, NONE, "Restarts",
           "Processes that took a predecessor's place in this generation."),
    NUMBER(refresher, silence, GAUGE, SPAN, "Last heartbeat",
           "How long ago its last heartbeat was."),
    END
};

const staple_number_t staple_report_share_numbers[] = {
    NUMBER(share, silent, GAUGE, NONE, NULL,
           "1 while the share does not answer, else 0."),
    NUMBER(share, since, GAUGE, TIME, NULL,
           "Since when that is so, or since the last start or restart."),
    NUMBER(share, hits, COUNTER, NONE, "Found",
           "Looks into the share that found a response."),
    NUMBER(share, misses, COUNTER, NONE, "Not found",
           "Looks into the share that found none."),
    NUMBER(share, foreign, COUNTER, NONE, "Not ours",
           "Looks that found something that mod_staple did not write."),
    NUMBER(share, stored, COUNTER, NONE, "Given",
           "Responses that were given to the share."),
    NUMBER(share, dropped, COUNTER, NONE, "Not given",
           "Responses that were not: too large, too late, or in trouble."),
    NUMBER(share, unanswered, COUNTER, NONE, "Not answered",
           "Questions that the share did not answer in time."),
    NUMBER(share, errors, COUNTER, NONE, "Errors",
           "Calls of the provider that failed or took too long."),
    NUMBER(share, last_error, GAUGE, TIME, "Last error",
           "When the last of these was."),
    END
};
