# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleMustStaple: with `require` the server does not start while a
# must-staple certificate has nothing to staple; it does with `warn`, with a
# responder that answers, with a ring that has the response already, and
# whatever certificates without must-staple lack. A server at work stays up. One
# that does not start leaves nothing behind, with any MPM.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);
my $plain = $ca->leaf(name => 'plain.test', ocsp => $responder->url);

sub server
{
    my ($mode, @leaves) = @_;

    return server_of('event', $mode, @leaves);
}

sub server_of
{
    my ($mpm, $mode, @leaves) = @_;

    return Staple::Httpd->new(
        mpm    => $mpm,
        conf   => stapling("StapleMustStaple $mode", 'StapleWarmup 500ms',
                           'SSLStaplingErrorCacheTimeout 1',
                           'SSLStaplingStandardCacheTimeout 1'),
        vhosts => [map { { cert => $_ } } @leaves]);
}

# That nothing is left of a server that has not started. Its end is that of a
# stop.
sub is_all_gone
{
    my ($httpd, $what) = @_;

    ok(wait_for(sub { !kill 0, -$httpd->pid }), "$what: no process is left")
        or kill 'KILL', -$httpd->pid;
    ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', Timeout => 1,
                              PeerPort => $httpd->port),
       '... nobody has the port');
    ok(!-e $httpd->dir . '/run/httpd.pid', '... there is no pid file');
    $httpd->log_ok(qr/STP0116|STP0[23]0\d/);
}

# Whether the responder is asked a few times more, each time a second after the
# last one: so the warm-up ends meanwhile, and with it, it may be, the server.
sub asks_on
{
    my $before = $responder->count;

    return wait_for(sub { $responder->count >= $before + 4 });
}

$responder->tell('refuse');
my $httpd = server('require', $plain, $must);
my $said = $httpd->start_fails;
ok(defined $said, 'require, no responder: the server does not start');
like($said // '', qr/STP0116.*must\.test/, '... and says why');
like($said // '', qr/STP0203: must\.test .*127\.0\.0\.1/,
     '... and what the responder did');
is_all_gone($httpd, 'event');

for my $mpm (grep { has_httpd_module("mpm_$_") } qw(prefork worker)) {
    my $other = server_of($mpm, 'require', $must);

    ok(defined $other->start_fails, "$mpm: the server does not start");
    is_all_gone($other, $mpm);
    $responder->tell('listen');
    $other->start;
    ok($other->is_alive, '... and starts when there is a response');
    $responder->tell('refuse');
    unlink $other->dir . '/logs/stapling_cache';
    ok($other->stop, 'httpd stops in good order');
}

# A restart, with a visitor of before who stays.
for my $mpm (grep { has_httpd_module("mpm_$_") } qw(event prefork)) {
    my $restarted = server_of($mpm, 'require', $plain);

    $restarted->start;
    my $visitor = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                        PeerPort => $restarted->port);
    ok($visitor, "$mpm: a visitor is connected");
    $restarted->{vhosts} = [map { { cert => $_ } } $plain, $must];
    $restarted->write_conf;
    kill 'USR1', $restarted->pid;
    ok(wait_for(sub { !$restarted->is_alive }, 60),
       '... a restart with nothing to staple ends the server');
    is_all_gone($restarted, $mpm);
}

$responder->tell('listen');
$responder->tell('revoked', $must);
$httpd->start;
is(handshake($httpd, name => 'must.test')->{staple}, 'revoked',
   'a revocation is something to staple');
ok($httpd->stop, 'httpd stops in good order');

$responder->tell('clear', $must);
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'must.test')->{staple}, 'good',
   'require, a responder that answers: it starts');
ok($httpd->stop, 'httpd stops in good order');

$responder->tell('refuse');
$httpd->start;
is(handshake($httpd, name => 'must.test')->{staple}, 'good',
   'require, no responder, the response of before: it starts');
$httpd->graceful;
is(handshake($httpd, name => 'must.test')->{staple}, 'good',
   '... and restarts');
ok($httpd->stop, 'httpd stops in good order');

my $lenient = server('warn', $must);
$lenient->start;
is(handshake($lenient, name => 'must.test')->{staple}, 'none',
   'warn: it starts with nothing to staple');
is(scalar($lenient->staple_lines('crit')), 1, '... and one CRIT');
ok($lenient->stop, 'httpd stops in good order');

my $others = server('require', $plain);
$others->start;
ok($others->is_alive, 'require asks nothing of other certificates');
ok($others->stop, 'httpd stops in good order');

# What has ended is still in memory over a restart; that is no response.
my $patient = server('require', $must);
$patient->{conf} =~ s/^StapleWarmup .*/StapleWarmup 120/m;
$patient->write_conf;
$responder->tell('listen');
$responder->tell('validity -60 4');
$patient->start;
$responder->tell('refuse');
ok(wait_for(sub { handshake($patient, name => 'must.test')->{staple} eq 'none' },
            60), 'a response has ended, and nothing newer comes');
$responder->tell('validity -60 86400');
$responder->tell('slow 3000');
$responder->tell('listen');
ok($patient->graceful, 'a restart, while the responder takes its time');
is(wait_for_staple($patient, 'good', name => 'must.test')->{staple}, 'good',
   '... waits for it, and the server stays');
ok($patient->stop, 'httpd stops in good order');
$responder->tell('prompt');
$responder->tell('validity -60 86400');

# A site that was given up, whose certificate has expired, is in nobody's way.
my $given_up = server('require', $must, $ca->leaf(
    name => 'old.test', ocsp => $responder->url, must_staple => 1, days => 0));
my $end = time + 1;
wait_for(sub { time > $end });
$responder->tell('listen');
$given_up->start;
ok(asks_on(), 'an expired must-staple certificate: the server starts');
ok($given_up->is_alive, '... and is there when the warm-up is over');
$given_up->graceful;
ok(asks_on(), '... and restarts');
is(handshake($given_up, name => 'must.test')->{staple}, 'good',
   '... with the other certificate stapled');
ok($given_up->stop, 'httpd stops in good order');
$responder->tell('refuse');

# The refresher is killed while it asks. Whoever takes its place decides, and
# has as much time; what was not finished is not held against the server.
for my $case (['refuse', 120, 'refused'], ['hang-before', 2, 'silent']) {
    my ($fault, $warmup, $what) = @$case;
    my $killed = Staple::Httpd->new(
        conf   => stapling('StapleMustStaple require',
                           "StapleWarmup ${warmup}s",
                           'SSLStaplingResponderTimeout 120'),
        vhosts => [{ cert => $must }]);

    $responder->tell('listen');
    $responder->only('hang-before');
    $responder->tell('reset-counters');
    $killed->launch;
    ok(wait_for(sub { $responder->count }, 60), "$what: it asks");
    my $first = $killed->wait_for_refresher;
    kill 'STOP', $first;    # so that it meets nothing of what follows
    $responder->tell($fault) if $fault eq 'refuse';
    kill 'KILL', $first;
    ok($killed->wait_for_log(qr/STP0120/, 60), '... and is replaced');
    if ($fault eq 'refuse') {
        ok($killed->wait_for_log(qr/STP0116.*must\.test/, 60),
           '... the other one decides: the server does not start');
        ok(wait_for(sub { !$killed->is_alive }, 60), '... and ends');
    }
    else {
        ok($killed->wait_for_log(qr/STP0129.*must\.test/, 60),
           '... the other one says what is missing');
        $responder->good;
        is(wait_for_staple($killed, 'good', name => 'must.test',
                           seconds => 60)->{staple}, 'good',
           '... and the server goes on');
    }
    $killed->stop;
    $killed->log_ok(qr/STP0116|STP0129|STP0120|STP0[23]0\d/,
                    qr/exit signal Killed|AH00171|AH00363/);
}

# A server at work: its response ends, and it stays.
$responder->tell('listen');
$responder->tell('validity -60 12', $must);
my $working = server('require', $must);
$working->start;
is(wait_for_staple($working, 'good', name => 'must.test')->{staple}, 'good',
   'it starts with a response that ends soon');
$responder->tell('refuse');
is(wait_for_staple($working, 'none', name => 'must.test', seconds => 30)
       ->{staple}, 'none', 'at work, the response ends');
ok($working->is_alive, '... and the server stays up');
ok($working->stop, 'httpd stops in good order');
$working->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
