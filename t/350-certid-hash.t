# Licensed under the Apache License, Version 2.0; see LICENSE.

# The hash of the CertID: SHA-1 first, SHA-256 where a responder refuses that,
# which is remembered for the responder; StapleCertIDHash has the last word.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $modern = Staple::Responder->new($ca);
my $usual = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $modern->url) }
    qw(first second sha1);
$leaf{$_} = $ca->leaf(name => "$_.test", ocsp => $usual->url)
    for qw(auto sha256);

# The hashes that a certificate was asked with, in order; one that is refused
# by GET is tried by POST too, which counts once.
sub hashes
{
    my ($responder, $name) = @_;
    my $hashes = join ' ', map { lc "$_->{hash}:$_->{method}" }
        grep { hex $_->{serial} == hex $leaf{$name}{serial} }
        $responder->log;

    $hashes =~ s/(\w+):get \1:post/$1/g;
    return $hashes =~ s/:\w+//gr;
}

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf{first} },
               { cert => $leaf{auto} },
               { cert => $leaf{sha1},   conf => 'StapleCertIDHash sha1' },
               { cert => $leaf{sha256}, conf => 'StapleCertIDHash sha256' }]);

$modern->tell('sha256-only');
$httpd->start;
for my $name (qw(first auto sha256)) {
    is(wait_for_staple($httpd, 'good', name => "$name.test")->{staple},
       'good', "$name: stapled");
}
is(hashes($modern, 'first'), 'sha1 sha256',
   'refused with SHA-1, it is asked with SHA-256 in the same round');
is(hashes($usual, 'auto'), 'sha1', 'SHA-1 where that is answered');
is(hashes($usual, 'sha256'), 'sha256', 'StapleCertIDHash sha256');

my $before = $modern->count($leaf{sha1});
$modern->wait_for_request($leaf{sha1}, $before + 1);
unlike(hashes($modern, 'sha1'), qr/sha256/, 'StapleCertIDHash sha1');
is(handshake($httpd, name => 'sha1.test')->{staple}, 'none',
   '... takes a refusal for an answer');

# Asked every second by one leader.
$httpd->{vhosts} = [{ cert => $leaf{first},
                      conf => 'SSLStaplingStandardCacheTimeout 1' },
                    { cert => $leaf{second} }];
$httpd->write_conf;
$modern->tell('reset-counters');
$modern->tell('http 500', $leaf{second});
$httpd->restart;
ok(wait_for(sub { $modern->count($leaf{first}) >= 4 }),
   'asked again and again');
like(hashes($modern, 'first'), qr/^sha1 sha256(?: sha256)+$/,
   'and with SHA-1 the first time only');

$modern->tell('clear | sha256-only', $leaf{second});
$modern->tell('reset-counters');
is(wait_for_staple($httpd, 'good', name => 'second.test')->{staple}, 'good',
   'another certificate of this responder: stapled');
is(hashes($modern, 'second'), 'sha256', 'and asked with SHA-256 at once');

$modern->tell('sha1-only');
$before = $modern->count($leaf{first});
ok(wait_for(sub { $modern->count($leaf{first}) >= $before + 5 }),
   'the responder changes its mind');
like(hashes($modern, 'first'), qr/sha256 sha1(?: sha1)+$/,
   'and is followed at once');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\].*(?:sha1|second)\.test/);

# Whatever the other hash meets, what is told is what the usual one did.
my $unknown = $ca->leaf(name => 'unknown.test', ocsp => $usual->url);
$usual->tell('unauthorized | sha1-only malformed');
my $refused = Staple::Httpd->new(
    conf => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $unknown }]);
$refused->start;
ok($refused->wait_for_log(qr/STP0203: unknown\.test/), 'refused with both');
ok((grep { hex $_->{serial} == hex $unknown->{serial}
           && lc $_->{hash} eq 'sha256' } $usual->log), '... with SHA-256, too');
like(($refused->staple_lines('warn'))[0],
     qr/STP0203: unknown\.test.*unauthorized/,
     '... and the log has what SHA-1 met');
ok($refused->stop, 'httpd stops in good order');
$refused->log_ok(qr/STP0203/);

done_testing;
