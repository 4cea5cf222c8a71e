# Licensed under the Apache License, Version 2.0; see LICENSE.

# One certificate whose answers are bad, whatever way they are, costs the
# hundred others of its responder nothing: on a cold start, with the bad one
# asked first, all of them are in within two seconds, and it has no staple.

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
my $patience = $ENV{STAPLE_PATIENCE} || 1;

# Seconds of the day in a line of the error log.
sub time_of
{
    my ($line) = @_;
    my ($h, $m, $s) = $line =~ /^\[\w+ \w+ +\d+ (\d+):(\d+):([\d.]+) /
        or return 0;

    return ($h * 60 + $m) * 60 + $s;
}

# Each fault is a start of its own, and with sanitizers each start takes long.
my @faults = $ENV{STAPLE_PRELOAD} ? ('hang-middle', 'badsig')
                                  : Staple::Responder->faults;
my ($slowest, $slowest_fault) = (0, '');
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
    my ($begin) = map { time_of($_) } grep { /STP0119/ } @lines;
    my @in = grep { /STP0204/ } @lines;
    my $took = @in ? time_of($in[-1]) - $begin : -1;

    $took += 86400 if $took < -1; # past midnight
    ($slowest, $slowest_fault) = ($took, $fault) if $took > $slowest;
    ok(@in == @healthy && $took >= 0 && $took < 2 * $patience,
       "$fault: the hundred are in")
        or diag(sprintf '%d in %.2f s', scalar @in, $took);
    is(scalar(grep { /STP0203: host0\.test / } @lines),
       scalar(grep { /STP0203/ } @lines), '... none of them complains');
    is(handshake($httpd, name => 'host0.test')->{staple}, 'none',
       '... the bad one has none');
    $httpd->stop or fail("$fault: httpd stops in good order");
}
$httpd->log_ok(qr/STP0203: host0\.test /);
diag(sprintf 'slowest: %.2f s, with %s', $slowest, $slowest_fault);

done_testing;
