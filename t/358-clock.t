# Licensed under the Apache License, Version 2.0; see LICENSE.

# The wall clock is set while the server runs, days ahead and back, and it
# starts with a wrong one: what is out of date by the new time is not served,
# the responder is asked at once and without a flood, and when clock and
# responder agree again there is a staple. libfaketime moves the clock of
# httpd alone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);

use constant DAY => 86400;

my ($faketime) = grep { -e }
    map { ("$_/libfaketimeMT.so.1", "$_/libfaketime.so.1") }
    map { glob "$_/faketime" } qw(/usr/lib/* /usr/lib64 /usr/lib);
plan skip_all => 'no libfaketime (Debian: libfaketime)' if !$faketime;
plan skip_all => 'a runtime of sanitizers and libfaketime do not mix'
    if $ENV{STAPLE_PRELOAD};

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $clock = work_dir() . '/clock';

# Move the clock of httpd so many days away from ours.
sub set_clock
{
    my ($days) = @_;

    write_file("$clock.new", sprintf "%+dd\n", $days);
    rename "$clock.new", $clock or die "cannot rename to $clock: $!\n";
}

# Have the responder live so many days away from our time.
sub move_responder
{
    my ($days) = @_;

    $responder->tell(sprintf 'validity %d %d', $days * DAY - 60,
                     $days * DAY + 4 * DAY);
}

# How often httpd has said that its clock was set.
sub jumps { return scalar(() = $_[0]->error_log =~ /STP0208/g) }

$ENV{STAPLE_PRELOAD} = $faketime;
$ENV{FAKETIME_TIMESTAMP_FILE} = $clock;
$ENV{FAKETIME_NO_CACHE} = 1;
$ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
$ENV{DONT_FAKE_MONOTONIC} = 1;

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

sub settled
{
    my ($wanted, $what) = @_;

    is(wait_for_staple($httpd, $wanted)->{staple}, $wanted, $what);
}

# How often it was asked in two seconds; a busy machine looks later.
sub is_no_flood
{
    my ($most, $what) = @_;
    my $begin = time;

    wait_for(sub { time > $begin + 2 });
    cmp_ok(scalar(grep { $_->{time} > $begin && $_->{time} < $begin + 2 }
                      $responder->log), '<=', $most, $what);
}

# --- a wrong clock from the start ---

set_clock(-1000);
$httpd->start;
is(handshake($httpd)->{staple}, 'none',
   'three years ago nothing is valid yet');
is_no_flood(8, 'a failing responder is not flooded');
set_clock(0);
settled('good', 'the clock is set: stapled');
is(jumps($httpd), 1, 'and one notice says so');
is_no_flood(0, 'nothing more is asked');

# --- ahead, past nextUpdate ---

set_clock(5);
settled('none', '5 days ahead: the response has ended');
is_no_flood(8, 'a responder that has nothing for that time is not flooded');
move_responder(5);
settled('good', 'it lives in that time too: stapled');
is_no_flood(0, 'nothing more is asked');

# --- and back ---

set_clock(0);
settled('none', 'back: what is held is from the future');
move_responder(0);
settled('good', 'the responder comes along: stapled');
is_no_flood(0, 'nothing more is asked');

# --- a small one, within the validity ---

my $held = handshake($httpd)->{der};
my $told = jumps($httpd);
set_clock(1);
ok(wait_for(sub { jumps($httpd) > $told }), 'a day ahead');
is_no_flood(1, 'within the validity nobody needs to be asked');
is(handshake($httpd)->{der}, $held, 'and the response stays');

set_clock(0);
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
