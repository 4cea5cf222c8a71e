# Licensed under the Apache License, Version 2.0; see LICENSE.

# An attempt is known before it is made, and whose bytes are read is known
# while they are: a response that crashes whoever parses it sets its own
# certificate aside after the third crash, and nobody else's; a refresher that
# is killed from outside in the middle of an exchange sets nobody aside, and
# its attempt counts.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir work_dir);

my $library = build_dir() . '/t/tools/.libs/crash.so';
plan(skip_all => "no $library") if !-e $library;
plan(skip_all => 'a crash is the end under sanitizers') if $ENV{STAPLE_PRELOAD};

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
           qw(down good poison);
my $crash_on = work_dir() . '/crash-on';
my $httpd = Staple::Httpd->new(
    conf    => stapling('StapleWarmup 0'),
    log_level => 'warn staple:debug',
    preload => [$library], env => { STAPLE_CRASH_ON => $crash_on },
    vhosts  => [map { { cert => $leaf{$_} } } sort keys %leaf]);

# The serial as it stands in an answer: an INTEGER in DER.
my $serial = pack 'H*', $leaf{poison}{serial};
write_file($crash_on, "\x02" . chr(length $serial) . $serial);

# Another certificate of this responder waits for it, so it is probed.
$responder->tell('http 503', $leaf{down});
$httpd->start;
wait_for_staple($httpd, 'good', name => 'good.test');
ok(wait_for(sub { $httpd->error_log =~ /STP0240: poison\.test/ }, 60),
   'after the third crash the certificate is set aside');
my $log = $httpd->error_log;
is(scalar(() = $log =~ /STP0120/g), 3, '... so there were three');
sub probes { return scalar(() = $httpd->error_log =~ /STP0221: down/g) }
my $probes = probes();
ok(wait_for(sub { probes() >= $probes + 4 }, 60), 'the responder is probed');
is(scalar(() = $httpd->error_log =~ /STP0120/g), 3, '... with nothing of its');
$responder->tell('clear', $leaf{down});
my $pid = $httpd->wait_for_refresher;
is(handshake($httpd, name => 'good.test')->{staple}, 'good',
   'the other one is stapled');
is(handshake($httpd, name => 'poison.test')->{staple}, 'none',
   'this one has nothing');

# Killed from outside in the middle of an exchange, three times and once more.
unlink $crash_on;
$httpd->stop;
unlink $httpd->dir . '/logs/stapling_cache';
$responder->tell('slow 60000', $leaf{poison});
my $seen = length $httpd->error_log;
$httpd->start;
wait_for_staple($httpd, 'good', name => 'good.test');
for my $time (1 .. 4) {
    $pid = $httpd->wait_for_refresher($time > 1 ? $pid : undef);
    kill 'KILL', $pid;
}
$pid = $httpd->wait_for_refresher($pid);
$responder->tell('clear', $leaf{poison});
wait_for_staple($httpd, 'good', name => 'poison.test');
unlike(substr($httpd->error_log, $seen), qr/STP0240/,
       'one that is killed from outside sets nobody aside');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0120|STP030/, qr/STP0240/, qr/exit signal/, qr/STP020[0-9]/,
               qr/seg fault or similar/);
done_testing;
