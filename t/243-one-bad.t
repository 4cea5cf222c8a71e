# Licensed under the Apache License, Version 2.0; see LICENSE.

# One certificate whose answers are bad, whatever way they are, costs the
# hundred others of its responder nothing: on a cold start, with the bad one
# asked first, all of them come in, and it has no staple. The deadline is ten
# times what it takes; t/bench/fetch-server has the figures.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my ($bad, @healthy) = map {
    $ca->leaf(name => "host$_.test", ocsp => $responder->url)
} 0 .. 100;
my $httpd = Staple::Httpd->new(
    conf      => stapling('SSLStaplingResponderTimeout 1', 'StapleWarmup 0'),
    log_level => 'warn staple:debug',
    vhosts    => [map { { cert => $_ } } $bad, @healthy]);

# Each fault is a start of its own, and with sanitizers each start takes long.
my @faults = $ENV{STAPLE_PRELOAD} ? ('hang-middle', 'badsig')
                                  : Staple::Responder->faults;
for my $fault (@faults) {
    my $before = length $httpd->error_log;

    unlink $httpd->dir . '/logs/stapling_cache';
    $responder->tell('clear', $bad);
    $responder->tell($fault, $bad);
    $httpd->start;
    my $log;
    wait_for(sub { $log = substr $httpd->error_log, $before;
                   @healthy <= (() = $log =~ /STP0204/g) && $log =~ /STP0203/ },
             20);
    my @lines = split /\n/, $log;
    is(scalar(grep { /STP0204/ } @lines), scalar @healthy,
       "$fault: the hundred are in");
    is(scalar(grep { /STP0203: host0\.test / } @lines),
       scalar(grep { /STP0203/ } @lines), '... none of them complains');
    is(handshake($httpd, name => 'host0.test')->{staple}, 'none',
       '... the bad one has none');
    $httpd->stop or fail("$fault: httpd stops in good order");
}
$httpd->log_ok(qr/STP0302/, qr/STP0203: host0\.test /);

done_testing;
