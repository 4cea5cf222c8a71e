# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder's name has two addresses, the first of which is ill, in whatever
# way: the second one is asked in the same round. When nothing is held, and when
# a response is held and the address falls ill later.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Names::missing();

plan skip_all => $missing if $missing;

# As the responder is told about its first address.
my @ills = ('deaf', 'hang-before', 'hangup', 'reset', 'not-http', 'cut',
            'garbage | type text/html', 'http 500', 'http 503', 'drip 400');

my $ca = Staple::CA->new;
my $names = Staple::Names->new('two.test' => '127.0.0.2 127.0.0.3');

# One server with a certificate for each kind; each has a responder of its own.
my @kinds = map {
    my $responder = Staple::Responder->new($ca, {
        bind => ['127.0.0.2', '127.0.0.3'] });

    { ill => $ills[$_], responder => $responder, name => "www$_.test",
      leaf => $ca->leaf(name => "www$_.test",
                        ocsp => $responder->url('/', 'two.test')) };
} 0 .. $#ills;
my $httpd = Staple::Httpd->new(
    names  => $names,
    conf   => stapling('SSLStaplingResponderTimeout 6',
                       'SSLStaplingStandardCacheTimeout 1'),
    vhosts => [map { { cert => $_->{leaf} } } @kinds]);

# An attempt that failed at all its addresses.
sub failed
{
    my ($kind) = @_;

    return $httpd->error_log =~ /STP0203: \Q$kind->{name}\E /;
}

# How each address is from now on; the well one first, for one of them is to be
# well at any moment.
sub set_both
{
    my ($kind, $first, $second) = @_;
    my $responder = $kind->{responder};

    $responder->good('127.0.0.3') if $second eq 'good';
    $responder->only($first, '127.0.0.2');
    $responder->only($second, '127.0.0.3') if $second ne 'good';
    $responder->tell('reset-counters');
}

set_both($_, $_->{ill}, 'good') for @kinds;
$httpd->start;
for my $kind (@kinds) {
    is(wait_for_staple($httpd, 'good', name => $kind->{name}, seconds => 20)
           ->{staple}, 'good', "$kind->{ill}: stapled when nothing is held");
    ok(!failed($kind), '... in the first round');
}

# The first address is asked again because the second one fails; then it falls
# ill in its turn.
set_both($_, 'type application/ocsp-response', 'http 500') for @kinds;
for my $kind (@kinds) {
    ok(wait_for(sub { $kind->{responder}->count('127.0.0.2') > 1 }, 20),
       "$kind->{ill}: the address is well, and asked");
}
set_both($_, $_->{ill}, 'good') for @kinds;
for my $kind (@kinds) {
    ok(wait_for(sub { $kind->{responder}->count('127.0.0.3') > 1 }, 30),
       "$kind->{ill}: it falls ill again, and the other one is asked");
    ok(!failed($kind), '... without a failed round');
}
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
