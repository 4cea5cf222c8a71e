# Licensed under the Apache License, Version 2.0; see LICENSE.

# httpd -t -D DUMP_STAPLING says before a start what would be stapled and what
# keeps a certificate from it; -D PROBE_STAPLING asks the responders as well.
# The exit status says whether all is well.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Names;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    ($_ => $ca->leaf(name => "$_.test", ocsp => $responder->url));
} qw(one two off bare);
my $port = $responder->port;

sub preflight
{
    my ($vhosts, $what, %o) = @_;
    my $httpd = Staple::Httpd->new(conf => stapling(), vhosts => $vhosts, %o);
    my ($exit, $out) = $httpd->configtest('-D', $what);

    ok(!-e $httpd->dir . '/logs/stapling_cache', '... no file was made');
    return ($exit, $out);
}

# The lines of one virtual host in a report.
sub host
{
    my ($out, $name) = @_;

    return $out =~ /^(\Q$name\E:.*?)(?=^\S|\z)/ms ? $1 : '';
}

# All is well.
my ($exit, $out) = preflight(
    [{ cert => $leaf{one} }, { certs => [$leaf{two}] },
     { cert => $leaf{off}, conf => 'SSLUseStapling off' }], 'DUMP_STAPLING');
is($exit, 0, 'a healthy configuration') or diag $out;
like($out, qr/^all is well$/m, '... in words');
like($out, qr/Syntax OK/, '... and httpd agrees');
my $one = host($out, 'one.test');
like($one, qr/^  certificate  one\.test, serial $leaf{one}{serial}, until /m,
     'the certificate');
like($one, qr/^  issuer       CN=.*intermediate$/m, '... its issuer');
like($one, qr/^  must-staple  no$/m, '... whether it is must-staple');
like($one, qr{^  responder    http://127\.0\.0\.1:$port/$}m,
     '... its responder');
like($one, qr/^  stapled      yes$/m, '... that it will be stapled');
like($one, qr/^one\.test:\d+ \(.*httpd\.conf:\d+\)$/m,
     '... where it was written');
like(host($out, 'off.test'), qr/stapled      no: SSLUseStapling is off/,
     'a host that has it off');
is_deeply([$out =~ /^(\w+)\.test:/gm], [qw(one two off)],
          'the hosts are in the order of the configuration');
like($out, qr/^  127\.0\.0\.1 port $port \(responder, 2 uses\): 127\.0\.0\.1$/m,
     'what a firewall has to let out');
like($out, qr/128000 bytes given, \d+ needed for 2 certificates/, 'the ring');
is($responder->count, 0, 'nobody was asked');

# What is in the way.
my %trouble = (
    none => $ca->leaf(name => 'none.test'),
    must => $ca->leaf(name => 'must.test', must_staple => 1),
    self => $ca->leaf(name => 'self.test', self_signed => 1),
    ldap => $ca->leaf(name => 'ldap.test', ocsp => 'ldap://x.test/'),
    lost => $ca->leaf(name => 'lost.test',
                      ocsp => 'http://no.such.host.invalid/'),
);
my $alone = { %{ $leaf{bare} },
              conf => "SSLCertificateFile $leaf{bare}{cert}\n"
                  . "SSLCertificateKeyFile $leaf{bare}{key}\n" };
($exit, $out) = preflight(
    [{ cert => $alone }, map { { cert => $trouble{$_} } } sort keys %trouble],
    'DUMP_STAPLING');
is($exit, 1, 'a configuration with troubles');
unlike($out, qr/Syntax OK/, '... httpd does not say that all is well');
like(host($out, 'bare.test'),
     qr/!! +not stapled: its issuer's certificate is missing/, 'no issuer');
like(host($out, 'none.test'), qr/no: its CA names no OCSP responder/,
     'no responder');
like(host($out, 'must.test'), qr/!! +clients refuse it: it is must-staple/,
     'must-staple without a responder');
like(host($out, 'self.test'), qr/no: it is self-signed/, 'self-signed');
like(host($out, 'ldap.test'), qr/!! +ldap:\S+ cannot be asked: the URL/,
     'a responder that cannot be asked');
like($out, qr/!! +no\.such\.host\.invalid port 80 cannot be resolved/,
     'a responder that has no address');
like($out, qr/^4 things need attention$/m, 'they are counted');

# A certificate's chain in a file of its own; certificates of the main server.
my $apart = { %$alone,
              conf => "$alone->{conf}SSLCertificateChainFile "
                  . "$leaf{bare}{issuer}\n" };
($exit, $out) = preflight([{ cert => $apart }], 'DUMP_STAPLING');
is($exit, 0, 'the issuer in SSLCertificateChainFile') or diag $out;
($exit, $out) = preflight(
    [{ name => 'heir.test' }], 'DUMP_STAPLING',
    conf => stapling('SSLEngine on', $leaf{one}{conf}));
like(host($out, 'heir.test'), qr/certificate  one\.test.*stapled      yes/s,
     'a certificate of the main server');

# A ring that is too small.
($exit, $out) = preflight(
    [map { { cert => $leaf{$_} } } qw(one two off)], 'DUMP_STAPLING',
    conf => 'SSLStaplingCache "shmcb:logs/stapling_cache(8192)"'
        . "\nSSLUseStapling on\nStapleCacheGrow off\n");
is($exit, 1, 'a ring that is too small');
like($out, qr/!! +too small, and StapleCacheGrow is off/, '... in words');

SKIP: {
    skip 'no mod_md', 1 if !has_httpd_module('md');
    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
                              modules => ['md'],
                              conf => stapling('MDStapling on'));
    like($out, qr/^  by +mod_md, for its own domains/m, 'mod_md staples too');
}

# The probe.
($exit, $out) = preflight([{ cert => $leaf{one} }, { cert => $leaf{two} }],
                          'PROBE_STAPLING');
is($exit, 0, 'the probe of a healthy responder') or diag $out;
like($out, qr{^  ok +one\.test: http://\S+: good, until .* UTC \(127\.0\.0\.1:$port, \d+ ms\)$}m,
     '... its verdict');
is($responder->count, 2, '... each certificate was asked for once');
$responder->tell('revoked', $leaf{one});
$responder->tell('badsig', $leaf{two});
($exit, $out) = preflight([{ cert => $leaf{one} }, { cert => $leaf{two} }],
                          'PROBE_STAPLING');
is($exit, 1, 'the probe of one that lies and one that revokes');
like($out, qr/!! +one\.test: \S+ revoked, until/, '... revoked');
like($out, qr/!! +two\.test: \S+ the response .*signature/, '... the lie');
like($out, qr/^2 things need attention$/m, '... they are counted');

# No SSLStaplingCache: which line to add.
($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
                          conf => "SSLUseStapling on\n");
is($exit, 1, 'no SSLStaplingCache');
like($out, qr{!! .*\(AH01958\); add at server level: SSLStaplingCache "shmcb:/\S+/run/stapling_cache\(512000\)"},
     '... and the line to add');

# What a start would do for the ring's file.
my $place = Staple::Work::work_dir() . '/place';
sub ring_at
{
    my ($path, %o) = @_;

    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
        conf => "SSLUseStapling on\nSSLStaplingCache shmcb:$path(128000)\n",
        %o);
    return $out =~ /!! +no ring file can be kept there: (.*); resp/ ? $1 : '';
}
# The same for a size, in bytes.
sub preflight_size
{
    my ($size) = @_;

    ($exit, $out) = preflight([{ cert => $leaf{one} }], 'DUMP_STAPLING',
        conf => "SSLUseStapling on\nSSLStaplingCache shmcb:run/ring($size)\n");
    return $out =~ /!! +(.*)/ ? $1 : '';
}
like(ring_at("$place/no/ring"), qr{^the directory $place/no: No such file},
     'a ring in a directory that does not exist');
mkdir $place;
is(ring_at("$place/ring"), '', 'one that exists') or diag $out;
is(preflight_size('4000000000000'), '', 'a size of which little can be used');
chmod 0777, $place;
like(ring_at("$place/ring"), qr/^anybody may remove files in $place$/,
     'one that anybody may write to');
chmod 0755, $place;
mkdir "$place/dir";
like(ring_at("$place/dir"), qr/^what is there is a directory$/,
     'a directory at its place');
symlink '/etc/hostname', "$place/link";
like(ring_at("$place/link"), qr/^what is there is a symbolic link$/, 'a link');
SKIP: {
    skip 'not root', 1 if $> != 0;
    write_file("$place/others", 'x');
    chown 1, 1, "$place/others";
    like(ring_at("$place/others"), qr/belongs to another user/,
         'a file of another user');
}

# Names are looked up side by side, by a child that is not root, and not for
# longer than the deadline.
SKIP: {
    skip(Staple::Names::missing(), 1) if Staple::Names::missing();
    my $names = Staple::Names->new(
        'quick.test' => '127.0.0.9', map { ("hang$_.test" => 'hang') } 1 .. 6);
    ($exit, $out) = preflight(
        [map { { cert => $ca->leaf(name => "$_.site.test",
                                   ocsp => "http://$_.test/") } }
         (map { "hang$_" } 1 .. 6), 'quick'],
        'DUMP_STAPLING', names => $names);
    is(() = $out =~ /!! +hang\d\.test port 80 cannot be resolved: no answer within/g,
       6, 'six names that hang');
    like($out, qr/^  quick\.test port 80 .*: 127\.0\.0\.9$/m,
         'a seventh is resolved all the same');
    ok(Staple::Work::wait_for(sub { $names->count('quick.test') == 1 }),
       'by a process that could write to the log of names');
}

# Root that cannot be given up asks nobody.
SKIP: {
    skip 'not root', 1 if $> != 0;
    $responder->tell('reset-counters');
    my $httpd = Staple::Httpd->new(conf => stapling(),
                                   vhosts => [{ cert => $leaf{one} }]);
    my $conf = $httpd->dir . '/conf/httpd.conf';
    my $text = read_file($conf);
    skip 'mod_unixd is built in', 1
        if $text !~ s/^LoadModule unixd_module .*\n|^(?:User|Group) .*\n//gm;
    write_file($conf, $text);
    ($exit, $out) = $httpd->configtest('-D', 'PROBE_STAPLING');
    isnt($exit, 0, 'without mod_unixd as root');
    is(() = $out =~ /!! +not done as root, and the privileges of root cannot be given up/g,
       2, '... neither names nor responders') or diag $out;
    is($responder->count, 0, '... nobody was asked');
}

done_testing;
