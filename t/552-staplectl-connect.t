# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl check --connect judges what a server really staples: good, none,
# revoked, a lie, and a server that says nothing at all.

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Staple;
use Staple::Answer;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $other = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    ($_ => $ca->leaf(name => "$_.test", ocsp => $responder->url));
} qw(good revoked off);
my $none = $ca->leaf(name => 'none.test');
my $forced = $ca->leaf(name => 'forced.test');
my $bar = $ca->leaf(name => 'a| left=9s;;;0.test', alt => ['bar.test']);
# As "openssl req -x509" makes them.
my $self = { name => 'self.test', cert => work_dir() . '/self.pem',
             key => work_dir() . '/self.key' };
run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj',
    '/CN=self.test', '-addext', 'subjectAltName=DNS:self.test', '-keyout',
    $self->{key}, '-out', $self->{cert});
$self->{conf} = "SSLCertificateFile $self->{cert}\n"
    . "SSLCertificateKeyFile $self->{key}\n";
my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $leaf{good} }, { cert => $leaf{revoked} },
               { cert => $leaf{off}, conf => 'SSLUseStapling off' },
               { cert => $none },
               { cert => $forced,
                 conf => 'SSLStaplingForceURL ' . $responder->url },
               { cert => $self, conf => 'SSLUseStapling off' },
               { cert => $bar, name => 'bar.test' }]);

sub check
{
    my ($name, @args) = @_;

    return run(build_dir() . '/staplectl/staplectl', 'check', '--connect',
               '127.0.0.1:' . $httpd->port, '--servername', $name, @args);
}

$responder->tell('revoked', $leaf{revoked});
$httpd->start;
wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');
wait_for_staple($httpd, 'good', name => 'forced.test');

for ([good => 0, qr/^STAPLE OK - good\.test: stapled, valid for another /],
     [revoked => 2, qr/CRITICAL - revoked\.test: revoked: the CA revoked it at /],
     [off => 2, qr/CRITICAL - off\.test: missing: the server sent no response/],
     [self => 0, qr/OK - self\.test: not applicable: it is self-signed/],
     [forced => 0, qr/^STAPLE OK - forced\.test: stapled, valid for another /],
     [none => 0, qr/OK - none\.test: not applicable: its CA names no/]) {
    my ($name, $status, $words) = @$_;
    my ($exit, $out) = check("$name.test");

    is($exit, $status, "$name.test: status $status");
    like($out, $words, '... in words');
}
my ($exit, $out) = check('good.test', '--cert', $leaf{off}{chain});
is($exit, 0, 'with files of others: what the server shows is judged');
like($out, qr/^STAPLE OK - good\.test: stapled/, '... and no other');
unlike((check('bar.test'))[1], qr/\|.*\|/,
       'a certificate cannot name performance data');
is((check('good.test', '-w', '30d'))[0], 1, 'the limits hold here too');
($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'show', '--connect',
                    '127.0.0.1:' . $httpd->port, '--servername', 'good.test');
like($out, qr/^judgement .*^served until .*UTC \(in /ms, 'show --connect');
($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'show', '-r',
                    $httpd->dir . '/logs/stapling_cache', '-c',
                    $forced->{chain}, 'forced.test');
like($out, qr/^judgement +true and about this certificate$/m,
     'a certificate that names no responder is judged by its file, too');
ok($httpd->stop, 'httpd stops in good order');

# A staple that mod_staple would never send, from a server that sends anything.
my $lie = work_dir() . '/lie';
SKIP: {
    my $der = handshake_bytes();
    skip 'no response to lie with', 2 if !$der;
    write_file($lie, $der);
    ($exit, $out) = check_liar($leaf{off});
    my (undef, $version) = run(tool('openssl'), 'version');
    skip 'libssl since 3.6 staples nothing that is not about its certificate', 2
        if $version =~ /^OpenSSL (?:3\.[6-9]|[4-9])/
           && $out =~ /the server sent no response/;
    is($exit, 2, 'a staple of another certificate is critical');
    like($out, qr/off\.test: invalid: the response .*certificate/, '... and why');
}

# What staplectl says of a server that staples the lie with this certificate.
sub check_liar
{
    my ($shown) = @_;
    my $log = work_dir() . "/$shown->{name}.log";
    my $server = Staple::Work::spawn(
        name => 'liar', log => $log,
        cmd => [build_dir() . '/t/tools/liar', $shown->{chain}, $shown->{key},
                $lie]);
    my $port = wait_for(sub { read_file($log) =~ /^port (\d+)$/m ? $1 : 0 });
    my @said = run(build_dir() . '/staplectl/staplectl', 'check', '--connect',
                   "127.0.0.1:$port", '--servername', $shown->{name});

    Staple::Work::stop_process($server);
    return @said;
}

sub handshake_bytes
{
    my ($status, $bytes) = run(
        build_dir() . '/staplectl/staplectl', 'get', '-r',
        $httpd->dir . '/logs/stapling_cache', $leaf{good}{serial});

    return $status ? undef : $bytes;
}

# The issuer's certificate is there, and it is not what the judgement lacks.
my $short = $ca->leaf(name => 'short.test', ext => "2.5.29.56=DER:0500\n");
write_file($lie, answer($responder, $short, 'good'));
($exit, $out) = check_liar($short);
is($exit, 3, 'a staple of a certificate that says noRevAvail is not judged');
like($out, qr/OCSP does not apply .*noRevAvail/, '... and why');

my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5);
($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'check', '--timeout', 1,
                    '--connect', '127.0.0.1:' . $mute->sockport);
is($exit, 3, 'a server that says nothing: nothing is found out');
like($out, qr/took too long/, '... in time, and in words');
my $closed = $mute->sockport;
close $mute;
($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'check', '--connect',
                    "127.0.0.1:$closed");
is($exit, 3, 'no server at all');
like($out, qr/127\.0\.0\.1 port $closed: Connection refused/, '... in words');

$httpd->log_ok(qr/STP0202: revoked/, qr/AH01906/);

done_testing;
