# Licensed under the Apache License, Version 2.0; see LICENSE.

# A staple under every MPM: event, prefork and worker.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);

for my $mpm (qw(event prefork worker)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = Staple::Httpd->new(mpm => $mpm, conf => stapling(),
                                       vhosts => [{ cert => $leaf }]);
        $httpd->start;
        $responder->tell('reset-counters');
        is(wait_for_staple($httpd, 'good')->{staple}, 'good', "$mpm: stapled");
        # Whichever child answers has it, and none of them asks.
        my @staples = map { handshake($httpd)->{staple} } 1 .. 20;
        is(join(' ', @staples), join(' ', ('good') x 20), "$mpm: always");
        cmp_ok($responder->count, '<=', 1, "$mpm: one request was enough");
        $httpd->graceful;
        is(handshake($httpd)->{staple}, 'good', "$mpm: graceful restart");
        ok($httpd->stop, "$mpm: httpd stops in good order");
        $httpd->log_ok;
    }
}

done_testing;
