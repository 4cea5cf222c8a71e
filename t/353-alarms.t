# Licensed under the Apache License, Version 2.0; see LICENSE.

# What an administrator is told of a certificate when its responder fails, and
# when: an ERR once under a tenth of the validity, a CRIT once when a must-staple
# certificate has nothing to staple, a NOTICE once that is over; and nothing
# above INFO for the attempts in between. (t/509 has what is told of the
# responder.)

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# name => how the response that is held when the responder fails lies in time,
# and the levels that are to be told, in order.
my %case = (
    long   => ['-60 345600', ''],
    urgent => ['-3600 300', 'error'],
    short  => ['-40 10', 'error'],
    must   => ['-40 10', 'error crit'],
    never  => [undef, 'crit'],
);
my @names = sort keys %case;
my %leaf = map {
    $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url,
                    must_staple => scalar(/^(?:must|never)$/))
} @names;
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1',
                       'SSLStaplingStandardCacheTimeout 1'),
    vhosts => [map { { cert => $leaf{$_} } } @names]);

# The levels of the messages about one certificate, above INFO.
sub told
{
    my ($name) = @_;

    return join ' ', map { /\[staple:(\w+)\]/ ? $1 : () }
        grep { /STP\d+: \Q$name\E\.test / }
        $httpd->staple_lines(qw(notice warn error crit alert emerg));
}

sub infos
{
    my ($name) = @_;

    return scalar grep { /STP0203: \Q$name\E\.test / }
        $httpd->staple_lines('info');
}

for my $name (@names) {
    $responder->tell(defined $case{$name}[0] ? "validity $case{$name}[0]"
                                             : 'http 500', $leaf{$name});
}
$httpd->start;
for my $name (grep { $_ ne 'never' } @names) {
    is(wait_for_staple($httpd, 'good', name => "$name.test")->{staple},
       'good', "$name: stapled at first");
}
$responder->tell('http 503', $leaf{$_}) for @names;

for my $name (@names) {
    ok(wait_for(sub { told($name) eq $case{$name}[1] }, 30),
       "$name: told $case{$name}[1]")
        or diag('told ', told($name));
}
my %infos = map { $_ => infos($_) } @names;
for my $name (@names) {
    ok(wait_for(sub { infos($name) >= $infos{$name} + 2 }, 20),
       "$name: fails on");
    is(told($name), $case{$name}[1], '... and nothing more is told');
}
is(handshake($httpd, name => "$_.test")->{staple}, 'none',
   "$_: its response has ended") for qw(must never short);
is(handshake($httpd, name => "$_.test")->{staple}, 'good',
   "$_: its response has not") for qw(long urgent);

my $log = $httpd->error_log;
like($log, qr/crit.*must\.test \(must\.test:\d+\).*HTTP status 503.*clients/i,
     'a message names host, reason and what it means');
like($log, qr/info.*long\.test.*keeping.*until \d{4}-\d\d-\d\d \d\d:/i,
     'until when the held response is good');
like($log, qr/info.*long\.test.*next (?:attempt|at)/i,
     'and when the next attempt is');

$responder->tell('clear', $leaf{$_}) for @names;
my %all = map { $_ => $case{$_}[1] && "$case{$_}[1] notice" } @names;
for my $name (@names) {
    ok(wait_for(sub { told($name) eq $all{$name} }),
       "$name: one notice that it is over, if it was loud");
}
my $before = $responder->count;
wait_for(sub { $responder->count >= $before + 2 * @names });
is(told($_), $all{$_}, "$_: and no more") for @names;

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
