# Licensed under the Apache License, Version 2.0; see LICENSE.

# The wall clock is set while the server runs, days ahead and back, and it
# starts with a wrong one: what is out of date by the new time is not served,
# the responder is asked at once and without a flood, and when clock and
# responder agree again there is a staple. libfaketime moves the clock of
# httpd alone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Clock;
use Staple::Status;

use constant DAY => 86400;

plan skip_all => Staple::Clock->lacking if Staple::Clock->lacking;

my $clock = Staple::Clock->new;
my $ca = Staple::CA->new;
my ($responder, $other) = map { Staple::Responder->new($ca) } 1 .. 2;
my $leaf = $ca->leaf(ocsp => $responder->url);
my $often = $ca->leaf(name => 'often.test', ocsp => $other->url);

# Move the clock of httpd so many days away from ours.
sub set_clock { $clock->set($_[0] * DAY) }

# Have the responder live so many days away from our time.
sub move_responder
{
    my ($days) = @_;

    $responder->tell(sprintf 'validity %d %d', $days * DAY - 60,
                     $days * DAY + 4 * DAY);
}

# How often httpd has said that its clock was set.
sub jumps { return scalar(() = $_[0]->error_log =~ /STP0208/g) }

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf },
               { cert => $often, conf => 'SSLStaplingStandardCacheTimeout 1' }]);

sub settled
{
    my ($wanted, $what) = @_;

    is(wait_for_staple($httpd, $wanted)->{staple}, $wanted, $what);
}

# While it fails, an attempt begins 0.8 s after the end of the one before, or
# later; each of these asks one question, or three where the first answer has
# expired: once more past the caches (RFC 9919), and by POST.
sub is_no_flood
{
    my ($what) = @_;
    my $before = $responder->count;

    ok(wait_for(sub { $responder->count >= $before + 6 }, 30),
       "$what: asked again and again");
    my @times = map { $_->{time} } $responder->log;
    my @spans = map { $times[$_] - $times[$_ - 3] } $before + 3 .. $#times;
    is(scalar(grep { $_ < 0.75 } @spans), 0, '... after a pause each time')
        or diag("@spans");
}

# It is asked nothing while the other certificate is asked for three times.
# True, unless it was asked for a reason.
sub is_left_alone
{
    my ($what, $is_reason) = @_;
    my ($before, $others) = ($responder->count, $other->count);

    ok(wait_for(sub { $other->count >= $others + 3 }, 30),
       "$what: another certificate is asked for");
    SKIP: {
        skip 'asked for a reason', 1
            if $responder->count > $before && $is_reason
            && wait_for($is_reason, 10);
        is($responder->count, $before, '... and this one is not');
        return 1;
    }
    return 0;
}

# --- a wrong clock from the start ---

set_clock(-1000);
$httpd->start;
is(handshake($httpd)->{staple}, 'none',
   'three years ago nothing is valid yet');
is_no_flood('a failing responder');
set_clock(0);
settled('good', 'the clock is set: stapled');
is(jumps($httpd), 1, 'and one notice says so');
is_left_alone('set right');

# --- ahead, past nextUpdate ---

set_clock(5);
settled('none', '5 days ahead: the response has ended');
is_no_flood('a responder that has nothing for that time');
move_responder(5);
settled('good', 'it lives in that time too: stapled');
is_left_alone('ahead');

# --- and back ---

set_clock(0);
settled('none', 'back: what is held is from the future');
move_responder(0);
settled('good', 'the responder comes along: stapled');
is_left_alone('back');

# --- a small one, within the validity ---

my $held = handshake($httpd)->{der};
my $told = jumps($httpd);
set_clock(1);
ok(wait_for(sub { jumps($httpd) > $told }), 'a day ahead');
is_left_alone('within the validity');
is(handshake($httpd)->{der}, $held, 'and the response stays');

# --- a refresher that is replaced believes no plan of a wrong clock ---

my $failures = sub { scalar(() = $httpd->error_log =~ /STP0203: often/g) };
my $before = $failures->();
set_clock(30);
ok(wait_for(sub { $failures->() > $before }, 30), '30 days ahead: a failure');
my $refresher = $httpd->wait_for_refresher;
kill 'STOP', $refresher;
set_clock(0);
$before = $other->count;
kill 'KILL', $refresher;
ok($httpd->wait_for_refresher($refresher), 'set right, and it was killed');
ok(wait_for(sub { $other->count > $before }, 30),
   '... the next one asks for what is due');
settled('good', '... and it is stapled');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/, qr/STP0120/, qr/exit signal Killed/);

# --- a stop, and a start with a wrong clock and nobody to ask ---

$httpd->start;
settled('good', 'started again: stapled');
ok($httpd->stop, 'httpd stops in good order');
set_clock(-1000);
$responder->tell('refuse');
$httpd->start;
is(handshake($httpd)->{staple}, 'none',
   'three years ago what the file brought is not valid yet');
ok($httpd->wait_for_log(qr/STP0302/), '... and the responder is gone');
set_clock(0);
settled('good', 'set right: it is stapled');
ok($httpd->stop, 'httpd stops in good order');
$responder->tell('listen');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

# --- errors are stapled, and the clock is set back ---

$httpd->{conf} .= "SSLStaplingReturnResponderErrors on\n"
                  . "SSLStaplingFakeTryLater on\n";
$httpd->write_conf;
$httpd->start;
settled('good', 'with errors: stapled');
$responder->tell('refuse');
set_clock(-1);
ok($httpd->wait_for_log(qr/STP0203: www/), 'a day back: nothing comes');
isnt(handshake($httpd)->{staple}, 'good', '... what is held is of tomorrow');
set_clock(0);
settled('good', 'set right: it is stapled');
ok($httpd->stop, 'httpd stops in good order');
$responder->tell('listen');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

# --- probes go on ---

$httpd = Staple::Httpd->new(
    log_level => 'ssl:warn staple:trace2',
    conf      => stapling('SSLStaplingErrorCacheTimeout 600'),
    vhosts    => [{ cert => $leaf }]);
my $probes = sub { scalar(() = $httpd->error_log =~ /STP0221/g) };

$responder->tell('http 503');
$httpd->start;
ok(wait_for(sub { $probes->() >= 1 }, 60),
   'a responder that is down is probed');
set_clock(-1 / 12);
ok($httpd->wait_for_log(qr/STP0208/), '... two hours back');
$before = $probes->();
ok(wait_for(sub { $probes->() >= $before + 3 }, 60), '... and is probed on');
set_clock(0);
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);
$responder->tell('http 200');

# --- another server of the fleet asks, and the clock is set back ---

SKIP: {
    skip 'no redis-server with its socache here', 8
        if !Staple::Store->program('redis')
        || !has_httpd_module('socache_redis');
    my $store = Staple::Store->new('redis');
    my $claim = sub { (grep { /63$/ } $store->keys)[0] };

    $httpd = Staple::Httpd->new(
        modules => ['socache_redis'],
        ports   => 2,
        conf    => status_conf() . "\n"
            . stapling('StapleShare ' . $store->spec,
                       'SSLStaplingResponderTimeout 600'),
        vhosts  => [{ cert => $leaf }]);
    $responder->tell('slow 600000');
    $httpd->start;
    ok(wait_for($claim), 'what a server asks for is claimed');
    my $late = Staple::Status->new($httpd)->late_share;
    ok($httpd->stop, 'httpd stops in good order');
    $store->set($claim->(), "STPC1\0\0\0" . "\xff" x 16);
    $responder->tell('prompt');
    push @{ $httpd->{vhosts} },
        { cert => $often, conf => 'SSLStaplingStandardCacheTimeout 1' };
    $httpd->write_conf;
    $httpd->start;
    my $is_claimed = is_left_alone(
        'another server has the claim',
        sub { Staple::Status->new($httpd)->late_share > $late });
    SKIP: {
        skip 'the store took longer than 300 ms', 2 if !$is_claimed;
        set_clock(-1 / 12);
        ok($httpd->wait_for_log(qr/STP0208/), '... the clock is set back');
        $before = $responder->count;
        $store->flush;
        ok(wait_for(sub { $responder->count > $before }, 30),
           '... without the claim, it is asked for');
        set_clock(0);
    }
    ok($httpd->stop, 'httpd stops in good order');
    $httpd->log_ok(qr/STP0302/, qr/STP0203/);
    $store->end;
}

done_testing;
