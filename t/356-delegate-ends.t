# Licensed under the Apache License, Version 2.0; see LICENSE.

# A response whose signer's certificate ends before its nextUpdate is served
# for as long as clients believe the signer, and no longer.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

use POSIX qw(strftime);
use Time::HiRes qw(time);    # the usual one may be some milliseconds late

my $ca = Staple::CA->new;
my $leaf = $ca->leaf;
my $dir = $ca->{dir};
my ($issuer, $issuer_key) = $ca->issuer;

sub openssl
{
    my ($exit, $out) = run('openssl', @_);

    die "openssl @_: $out" if $exit;
}

# A delegate of the issuer that ends at that moment.
sub delegate
{
    my ($until) = @_;
    my $config = write_file("$dir/delegate.cnf", <<"END");
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = a
[a]
database = $dir/delegates.txt
new_certs_dir = $dir
rand_serial = yes
default_md = sha256
policy = p
x509_extensions = x
[p]
commonName = supplied
[x]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = yes
END

    write_file("$dir/delegates.txt", '');
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt',
            'ec_paramgen_curve:P-256', '-out', "$dir/delegate.key");
    openssl('req', '-new', '-config', $config, '-key', "$dir/delegate.key",
            '-subj', '/CN=delegate', '-out', "$dir/delegate.csr");
    openssl('ca', '-batch', '-notext', '-config', $config, '-cert', $issuer,
            '-keyfile', $issuer_key, '-in', "$dir/delegate.csr", '-out',
            "$dir/delegate.pem", '-startdate', '20200101000000Z', '-enddate',
            strftime('%Y%m%d%H%M%SZ', gmtime $until));
}

my $httpd = Staple::Httpd->new(
    conf   => stapling('StapleResponseFile {dir}/r.der'),
    vhosts => [{ cert => $leaf }]);
my $file = $httpd->dir . '/r.der';
put_file($file, answer(Staple::Responder->new($ca), $leaf,
                       'validity -60 86400'));
$httpd->start;
my $before = wait_for_staple($httpd, 'good');
is($before->{staple}, 'good', 'stapled, with one that the issuer has signed');

my $until = int(time) + 15;
delegate($until);
openssl('ocsp', '-index', "$dir/index.txt", '-CA', $issuer, '-rsigner',
        "$dir/delegate.pem", '-rkey', "$dir/delegate.key", '-issuer', $issuer,
        '-serial', "0x$leaf->{serial}", '-ndays', 4, '-noverify', '-respout',
        "$dir/r.der");
put_file($file, read_file("$dir/r.der"));

my ($is_taken, $late);
ok(wait_for(sub {
       my $began = time;

       my $got = handshake($httpd);

       return 1 if $got->{staple} eq 'none';
       $is_taken ||= $got->{der} ne $before->{der};
       $late ||= $is_taken && $began > $until;
       return 0;
   }, 40), 'one with days to its nextUpdate ends, because its signer does');
ok($is_taken, '... was stapled before');
ok(!$late, '... never after that');
cmp_ok(time, '>=', $until, '... nor given up before');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0207/);

done_testing;
